"""Studies of onset: traces D that know nothing of the grok step, in which the paper's detectors look for one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import numpy as np
from grok_times import EVERY, EXCHANGES, Rng, effects, grok_steps
from study import Outcome, Study, power, rejects, size

from minigrok.analyses.onset import scores
from minigrok.analyses.onset.analysis import Life, _event, _onsets  # what compute does between reading and scoring
from minigrok.analyses.shared.defect import Trace
from minigrok.analyses.shared.events import GROKS
from minigrok.engine import Array
from minigrok.statistics import small_samples

TASK = "add"
SNAPSHOTS = 200  # steps between values of D
AFTER = 200  # steps for which a run goes on after its grok step, unless all go on to a common end
DETECTORS = ("v2", "spike")
Null = Callable[[Rng, Array, float], Array]  # rng, steps (S,), grok step -> ln D (S,)


def life(rng: Rng, i: int, condition: str, grok: float, null: Null, end: int = 0) -> Life:
    """A run that groks at a step and ends soon after, or at a given step; it memorised early, whenever it grokked."""
    last = end or int(grok) + AFTER
    steps, rows = np.arange(0, last + 1, SNAPSHOTS), np.arange(0, last + 1, EVERY)
    fitted = rows >= 1000 + 100 * rng.integers(0, 10)
    columns = {
        "step": rows,
        f"train_accuracy_{TASK}": fitted * 1.0,
        f"train_loss_{TASK}": np.where(fitted, 0.01, 2.0),
        "param_norm": 50 * np.exp(-rows / 2e4),
    }
    trace = Trace(steps, np.exp(null(rng, steps, grok)), "", 1)
    return Life(str(i), condition, [TASK], columns, trace, last, dict.fromkeys(GROKS, int(grok)))


def wide_noise(rng: Rng, steps: Array, grok: float) -> Array:
    """Independent values, standard deviation 2."""
    return 2 * rng.standard_normal(len(steps))


def early_rise(rng: Rng, steps: Array, grok: float) -> Array:
    """Thirty times as large from a step between 2,000 and 6,000 on."""
    return np.log(30) * (steps >= rng.uniform(2000, 6000)) + 0.3 * rng.standard_normal(len(steps))


def random_walk(rng: Rng, steps: Array, grok: float) -> Array:
    """Sum of independent moves."""
    return np.cumsum(0.5 * rng.standard_normal(len(steps)))


def trend(rng: Rng, steps: Array, grok: float) -> Array:
    """A steady rise, of a speed that belongs to the run."""
    return steps / 2000 * rng.uniform(0.5, 1.5) + 0.3 * rng.standard_normal(len(steps))


def foretells(rng: Rng, steps: Array, grok: float) -> Array:
    """A hundred times as large from about three quarters of the grok step on."""
    rise = grok * rng.uniform(0.7, 0.8)
    return np.log(100) * (steps >= rise) + 0.3 * rng.standard_normal(len(steps))


def scored(rng: Rng, n: int, null: Null, conditions: int = 1, end: int = 0) -> list[Outcome]:
    """n seeds of each condition, each 1.5 times as late as the one before: p exchange of each detector, p rho of v2."""
    lives = []
    for c in range(conditions):
        t = grok_steps(rng, effects(rng, n), 1.5**c)
        lives += [life(rng, i, f"condition {c}", grok, null, end) for i, grok in enumerate(t)]
    runs = [_onsets(each, lives) for each in lives]
    definition = next(iter(GROKS))
    with patch.multiple(scores, EXCHANGES=EXCHANGES, SHUFFLES=1), patch.object(small_samples, "MOST", EXCHANGES):
        found = {name: scores.score([_event(run, name, definition) for run in runs], rng) for name in DETECTORS}
    return [*(rejects(found[name].p) for name in DETECTORS), rejects(found["v2"].rho_p)]


COLUMNS = (*(f"p exchange, {name}" for name in DETECTORS), "p rho, v2")
CLAIMS, POWERS = tuple(size(column) for column in COLUMNS), tuple(power(column) for column in COLUMNS)
END = 24_000
NULLS = {
    "D is wide noise": wide_noise,
    "D rises early, whenever the run groks": early_rise,
    "D is a random walk": random_walk,
    "D rises steadily, each run at its own speed": trend,
}
STUDIES = [
    *(
        Study("onset", f"{words}; runs end at their grok", CLAIMS, partial(scored, null=null), draws=200)
        for words, null in NULLS.items()
    ),
    *(
        Study(
            "onset",
            f"{words}; runs end at step {END:,}",
            CLAIMS,
            partial(scored, null=NULLS[words], end=END),
            draws=200,
        )
        for words in ("D is wide noise", "D is a random walk")
    ),
    Study(
        "onset",
        "two conditions, one 1.5 times as late; D rises early",
        CLAIMS,
        partial(scored, null=early_rise, conditions=2),
        draws=200,
    ),
]
FORETOLD = "D rises at 3/4 of the grok step"
POWER = [
    Study("onset", f"{FORETOLD}; runs end at their grok", POWERS, partial(scored, null=foretells), draws=200),
    Study(
        "onset", f"{FORETOLD}; runs end at step {END:,}", POWERS, partial(scored, null=foretells, end=END), draws=200
    ),
]
