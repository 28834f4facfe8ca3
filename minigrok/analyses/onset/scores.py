"""How well an event foretells grokking, over runs: each score with what chance gives.

One run is one observation. t is the run's grok step (first task), o the step of the event, both in optimiser steps.
    before     runs with o < t; a run without the event counts as not before
    chance     P(o < t) for o uniform on the window that the detector searches, (t - start) / (end - start), exact;
               since a run ends when it has grokked, this is near 1, and "all before" is what chance gives
    shifts     the same for the circular shifts of D: share of its n shifts with o < t, exact. It says whether D has a
               beginning at all, low and then high; a rise with memorisation passes it as well as any other
    p          P(at least that many runs before), independent runs of these chances (Poisson binomial)
    lead       t - o
    AUC        P(a run that groks has the earlier event than one that does not); never counts as latest
    rho        rank correlation of o and t within the runs of one condition, pooled over conditions
    gamma      o ~ t^gamma;  alpha: lead ~ t^alpha. A constant o gives gamma = 0 and alpha > 1: alpha says nothing
               unless it lies outside the interval that shuffling o among the runs gives.
A detector whose window is a share of the run has o in step with t for that reason alone: v1 and v2. The event "first
sample" shows how much rho and gamma that makes.
Source: shuffled onsets, competing events: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses.base import median
from minigrok.analyses.onset.result import Score
from minigrok.engine import Array
from minigrok.statistics.small_samples import auc, count_law, exponent, rank_test

SHUFFLES = 1000  # our choice


@dataclass(frozen=True)
class Event:
    """One event in one run; nan for what there is not.

    Attributes
    ----------
    condition : str        runs of one condition differ by their seed
    onset, known : float   step of the event; step at which it could have been known
    grok : float           step at which the first task grokked
    chance, shifts : float P(o < t) for a uniform o, and over the circular shifts
    """

    condition: str
    onset: float
    known: float
    grok: float
    chance: float
    shifts: float


def chance_before(grok: float, start: float, end: float) -> float:
    """Return P(o < t) for o uniform on [start, end]; nan without a window."""
    return float(np.clip((grok - start) / (end - start), 0, 1)) if end > start else float("nan")


def score(events: Sequence[Event], rng: np.random.Generator) -> Score:
    """Return the scores of an event over runs.

    Parameters
    ----------
    events : sequence of Event      one a run
    rng : numpy Generator           for the shuffles, and for permutations of more than 8 runs
    """
    groks = [e for e in events if not np.isnan(e.grok)]
    controls = [e for e in events if np.isnan(e.grok)]
    both = [e for e in groks if not np.isnan(e.onset)]
    before = sum(e.onset < e.grok for e in groks)
    t, o = np.array([e.grok for e in both]), np.array([e.onset for e in both])
    chance, shifts = (_law([getattr(e, name) for e in groks]) for name in ("chance", "shifts"))
    ranks = rank_test(_groups(both), rng)
    late = [[np.nan_to_num(e.onset, nan=np.inf) for e in some] for some in (groks, controls)]
    return Score(
        len(groks),
        before,
        len(controls),
        sum(not np.isnan(e.onset) for e in controls),
        median(t - o),
        median((t - o) / t),
        median(t - np.array([e.known for e in both])),
        chance,
        shifts,
        _tail(chance, before),
        _tail(shifts, before),
        auc(*late),
        ranks.rho,
        ranks.n,
        ranks.p,
        exponent(t, o),
        exponent(t, t - o),
        alpha_null(t, o, rng),
    )


def alpha_null(t: Array, o: Array, rng: np.random.Generator) -> Array:
    """Return the central 95 % (2,) of alpha with the onsets shuffled among the runs; nan below three runs."""
    draws = np.array([exponent(t, t - rng.permutation(o)) for _ in range(SHUFFLES)]) if len(t) > 2 else np.empty(0)
    draws = draws[np.isfinite(draws)]
    return np.quantile(draws, [0.025, 0.975]) if len(draws) else np.full(2, np.nan)


def _law(chances: list[float]) -> Array:
    """Law of the number of runs before; empty if one of the chances is not known."""
    return count_law(chances) if chances and not np.isnan(chances).any() else np.empty(0)


def _tail(law: Array, count: int) -> float:
    return float(min(1.0, law[count:].sum())) if len(law) else float("nan")


def _groups(events: list[Event]) -> list[tuple[Array, Array]]:
    names = dict.fromkeys(e.condition for e in events)
    members = [[e for e in events if e.condition == name] for name in names]
    return [(np.array([e.onset for e in some]), np.array([e.grok for e in some])) for some in members]
