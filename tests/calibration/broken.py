"""Claims that were made once, or are made elsewhere, and are not kept: the harness must say so."""

from __future__ import annotations

import numpy as np
from grok_times import EXCHANGES, Rng, effects, grok_steps
from study import Outcome, Study, coverage, inside, rejects, size

from minigrok.statistics import intervals
from minigrok.statistics.survival import log_rank


def circular_shifts(rng: Rng, n: int) -> list[Outcome]:
    """p of an event of a trend at the end of a run: the share of its circular shifts that lie as near the grok step."""
    values, grok = np.arange(n) / n + 0.1 * rng.standard_normal(n), n - 1 - int(rng.integers(0, n // 10))
    events = np.array([np.argmax(np.roll(values, shift)) for shift in range(n)])
    return [rejects(float(np.mean(np.abs(events - grok) <= abs(int(np.argmax(values)) - grok))))]


def interpolated_quantiles(rng: Rng, n: int) -> list[Outcome]:
    """A new draw beside NumPy's quantiles of n draws."""
    return [inside(rng.exponential(), np.quantile(rng.exponential(size=n), [0.025, 0.975]))]


def two_standard_errors(rng: Rng, n: int) -> list[Outcome]:
    """A mean, and two standard errors at each side."""
    x = rng.standard_normal(n)
    return [bool(abs(x.mean()) <= 2 * x.std(ddof=1) / np.sqrt(n))]


def repeats_as_runs(rng: Rng, n: int) -> list[Outcome]:
    """Two arms of n seeds and five repeats, every run taken for a seed."""
    groups = []
    for i in range(2):
        t = grok_steps(rng, np.repeat(effects(rng, n), 5))
        groups.append((t, np.ones(len(t), bool), np.arange(len(t)) + 1000 * i))
    return [rejects(log_rank(groups, rng, EXCHANGES).p)]


def too_wide(rng: Rng, n: int) -> list[Outcome]:
    """Four standard errors, said to be Student's."""
    x = rng.standard_normal(n)
    low, high = intervals.around(float(x.mean()), 2 * float(x.std(ddof=1)) / np.sqrt(n), n - 1)
    return [low <= 0 <= high]


BROKEN = [
    Study("weight_spectra", "a trend, shifted in a circle", (size("p grok"),), circular_shifts, (50,), "snapshots"),
    Study("any band", "NumPy's quantiles", (coverage("band", "=", intervals.coverage),), interpolated_quantiles, (50,)),
    Study("any mean", "two standard errors", (coverage("mean"),), two_standard_errors, (3,)),
    Study("dose_response", "every repeat taken for a seed", (size("p baseline"),), repeats_as_runs, (3,)),
    Study("any mean", "twice Student's interval", (coverage("mean"),), too_wide, (10,)),
]
