"""Bands and intervals: each with the number of values behind it and what it covers; none where there are too few.

    band     of draws x of a null: x_(r) .. x_(n+1-r), the r-th smallest and largest, r = floor((n + 1) (1 - LEVEL) / 2)
             A new draw lies inside with chance 1 - 2 r / (n + 1), exactly, whatever continuous law the null has.
             This chance is LEVEL or more; with fewer than 39 draws there is no band
    mean     m -/+ t_(n-1) s / sqrt(n): LEVEL for normal values; none for a single value or if nothing varies
    next     m -/+ t_(n-1) s sqrt(1 + 1/n): one more value of the same normal law lies inside with chance LEVEL
    share    of k among n (Clopper and Pearson): LEVEL or more, for every true share
Quantiles that interpolate, such as NumPy's, cover less: 1 - 2 (.025 (n - 1) + 1) / (n + 1), which is .913 at n = 50.
Source: Wilks 1941 (band); Student 1908; Hahn & Meeker 1991, chapter 4 (next); Clopper & Pearson 1934.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv
from scipy.stats import t as t_law

from minigrok.engine import Array

LEVEL = 0.95
NOTHING = math.nan


class Interval(NamedTuple):
    """Two ends, nan where there is no interval, and the number of values behind them."""

    low: float
    high: float
    n: int


def band(draws: Array) -> Array:
    """Return the band (2, ...) of draws (n, ...), along the first axis; nan where n is too small, or a draw is nan.

    Parameters
    ----------
    draws : (n, ...) float
        Of a null, any dimension.
    """
    draws = np.asarray(draws, np.float64)
    r = _rank(len(draws))
    if not r:
        return np.full((2, *draws.shape[1:]), np.nan)
    ordered = np.sort(draws, axis=0)  # nan last
    ends = np.stack([ordered[r - 1], ordered[-r]])
    return np.where(np.isnan(ordered[-1]), np.nan, ends)


def coverage(draws: int) -> float:
    """Return the chance that a new draw lies in the band of so many draws; nan: there is no band."""
    r = _rank(draws)
    return 1 - 2 * r / (draws + 1) if r else NOTHING


def mean_interval(values: Array) -> Interval:
    """Return the interval of the mean of values (n,)."""
    values = np.asarray(values, np.float64)
    n, mean = len(values), values.mean() if len(values) else NOTHING
    error = values.std(ddof=1) / math.sqrt(n) if n > 1 else NOTHING
    return Interval(*around(float(mean), float(error), n - 1), n)


def next_interval(values: Array) -> Interval:
    """Return the prediction interval of one more value beside values (n,)."""
    values = np.asarray(values, np.float64)
    n, mean = len(values), values.mean() if len(values) else NOTHING
    error = values.std(ddof=1) * math.sqrt(1 + 1 / n) if n > 1 else NOTHING
    return Interval(*around(float(mean), float(error), n - 1), n)


def around(value: float, error: float, df: int) -> tuple[float, float]:
    """Return value -/+ t error, a standard error of df degrees of freedom; nan without freedom, or where it is 0."""
    if df < 1 or not error > 0:
        return NOTHING, NOTHING
    wide = float(t_law.ppf((1 + LEVEL) / 2, df)) * error
    return value - wide, value + wide


def student_p(t: float, df: int) -> float:
    """Return the two-sided p of a value that is t standard errors from 0, of df degrees of freedom; nan without any."""
    return float(2 * t_law.sf(abs(t), df)) if df > 0 else NOTHING


def share_interval(count: Array | int, n: Array | int) -> Array:
    """Return the ends (2, ...) of the interval of a share, `count` of `n`."""
    count, n, tail = np.asarray(count), np.asarray(n), (1 - LEVEL) / 2
    low = np.where(count > 0, betaincinv(count, n - count + 1, tail), 0.0)
    high = np.where(count < n, betaincinv(count + 1, n - count, 1 - tail), 1.0)
    return np.stack([low, high])


def _rank(n: int) -> int:
    return int((n + 1) * (1 - LEVEL) / 2 + 1e-9)
