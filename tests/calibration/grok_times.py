"""Grok steps of runs that were never made: what a seed gives to all of its runs, what each repeat adds, evaluations.

t = M late exp(effect of the seed + noise of the run), rounded up to the next evaluation, cut at a horizon
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minigrok.analyses.base import Work
from minigrok.analyses.dose_response.analysis import groups_of, repeat_spread
from minigrok.analyses.dose_response.result import BASELINE, Group, Settings
from minigrok.analyses.dose_response.result import Life as ArmLife
from minigrok.analyses.phase.runs import Condition
from minigrok.analyses.phase.runs import Life as PhaseLife
from minigrok.engine import Array

Rng = np.random.Generator
Noise = Callable[[Rng, int], Array]  # standard deviation 1
EVERY = 100  # steps between evaluations: ties are usual
MIDDLE = 8050.0  # median of t; that of the evaluations is MEDIAN
MEDIAN = 8100.0
BETWEEN, WITHIN = 0.3, 0.1  # standard deviation of ln t between seeds, and between repeats of a seed
THIRD = 9200  # a horizon that about a third of the runs do not reach
NEVER = 10**7
EXCHANGES = 199  # any number of them keeps the size; fewer cost power


def normal(rng: Rng, n: int) -> Array:
    """Normal noise."""
    return rng.standard_normal(n)


def effects(rng: Rng, n: int) -> Array:
    """What n seeds give to ln t of all of their runs."""
    return BETWEEN * rng.standard_normal(n)


def grok_steps(rng: Rng, effect: Array, late: float = 1.0, within: float = WITHIN, noise: Noise = normal) -> Array:
    """Steps (n,) of the evaluations at which runs with these effects (n,) grok."""
    return at_evaluations(MIDDLE * late * np.exp(effect + within * noise(rng, len(effect))))


def at_evaluations(t: Array) -> Array:
    """Round up to evaluations."""
    return np.ceil(t / EVERY) * EVERY


def arm(
    rng: Rng,
    name: str,
    effect: Array,
    repeats: int | Sequence[int] = 1,
    first: int = 0,
    horizon: int = NEVER,
    late: float = 1.0,
    within: float = WITHIN,
) -> list[ArmLife]:
    """Runs of an arm: `repeats` of each seed `first`, `first` + 1, ..., whose effects are given."""
    many = np.broadcast_to(np.asarray(repeats), effect.shape)
    seeds = np.repeat(np.arange(len(effect)) + first, many)
    number = np.concatenate([np.arange(m) for m in many])
    t, dose = grok_steps(rng, np.repeat(effect, many), late, within), 0.0 if name == BASELINE else 0.5
    return [
        ArmLife("", name, dose, int(s), int(k), int(min(x, horizon)), *_twice(min(x, horizon), x <= horizon), {})
        for s, k, x in zip(seeds, number, t, strict=True)
    ]


def _twice(t: float, happened: bool) -> tuple[Array, Array]:
    """One task, and the last task."""
    return np.array([t, t]), np.array([happened, happened])


def compared(rng: Rng, lives: list[ArmLife], exchanges: int = EXCHANGES) -> dict[str, Group]:
    """What dose_response says of each arm."""
    work = Work(seed=int(rng.integers(2**31)))
    return {group.arm: group for group in groups_of(lives, repeat_spread(lives), Settings(draws=exchanges), work)}


def phase_lives(wd: float, t: Array, first: int = 0, horizon: int = NEVER) -> list[PhaseLife]:
    """Runs of one task and one condition, seeds `first`, `first` + 1, ..., that grok at steps t."""
    condition, nothing = Condition(wd, 1e-3, "float64"), np.zeros(0, np.int64)
    return [
        PhaseLife(
            "",
            first + i,
            condition,
            np.array([100.0]),
            np.array([min(x, horizon)]),
            np.array([x <= horizon]),
            int(min(x, horizon)),
            True,
            {},
            {},
            {},
            nothing,
            0,
        )
        for i, x in enumerate(t)
    ]
