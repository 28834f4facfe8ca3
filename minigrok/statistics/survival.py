"""Times of an event that some runs did not live to see: a run that ended first is censored, not left out.

    S(t)               P(no event by t), Kaplan-Meier: product over the event times t_i <= t of 1 - d_i / n_i;
                       d_i events at t_i, n_i runs at risk: neither over nor ended before t_i
    interval           of the share (Clopper and Pearson), the runs that were censored before t counted as gone for its
                       low end and as still there for its high end: it covers 95 % or more at any number of runs. The
                       usual one of Greenwood, log-log, covers .875 with three runs
    median             first t with S <= 1/2; where S stays at 1/2, the middle of that stretch. Its interval holds the
                       times whose interval of S holds 1/2; with fewer than six runs it has no end
    restricted mean    integral of S from 0 to a horizon h: mean of min(t, h). Its interval is Student's, and needs to
                       see every run's event before h: errors that are not normal, it does not know, nor that runs
                       which all escaped a budget are early ones (where it cuts a quarter, ten runs: .77 of .95)
    log-rank           u_g = sum_i (d_gi - d_i n_gi / n_i) of each group g, V its covariance; u^T V^+ u is large where
                       the groups differ. p by exchange (minigrok.statistics.exchange), if all have one budget: the
                       chi-square law that this statistic has for many runs is not that of a handful
Times are known to the spacing of evaluations only, so ties are usual.
Source: Kaplan & Meier 1958; Clopper & Pearson 1934; Brookmeyer & Crowley 1982 (interval of the median by inversion);
Mantel 1966, Peto & Peto 1972 (log-rank). S is SciPy's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import CensoredData, ecdf

from minigrok.engine import Array
from minigrok.errors import ConfigError, ShapeError
from minigrok.statistics.exchange import EXCHANGES, exchanged, least_p, p_value
from minigrok.statistics.intervals import LEVEL, Interval, mean_interval, share_interval


class Estimate(NamedTuple):
    """A time and its 95 % interval; None: beyond what was watched."""

    value: float | None
    low: float | None
    high: float | None


class LogRank(NamedTuple):
    """Whether groups have one survival curve."""

    statistic: float  # 0 if no event says anything
    df: int  # 0 likewise
    p: float  # by exchange
    least: float  # the smallest p that these runs could give


@dataclass(frozen=True)
class Survival:
    """Kaplan-Meier curve of one group.

    Attributes
    ----------
    times : (m,)             distinct times of events and ends, ascending; S is 1 before the first
    survival, low, high : (m,)    S from each time to the next, and its interval at that time
    at_risk, events : (m,) int
    """

    times: Array
    survival: Array
    low: Array
    high: Array
    at_risk: Array
    events: Array

    def at(self, t: float) -> float:
        """Return S(t)."""
        i = int(np.searchsorted(self.times, t, side="right"))
        return float(self.survival[i - 1]) if i else 1.0

    def median(self) -> Estimate:
        """Return the median time with its interval: the times whose interval of S holds 1/2."""
        below = np.flatnonzero(self.survival <= 0.5 + 1e-12)
        n = int(self.at_risk[0])
        too_few = bool(share_interval(n, n)[0] <= 0.5)  # before the first event S may be 1/2 already
        low = None if too_few else _first(self.times, self.low <= 0.5)
        high = _first(self.times, self.high < 0.5)
        if not below.size:
            return Estimate(None, low, high)
        i = int(below[0])
        value = float(self.times[i])
        after = np.flatnonzero(self.survival < 0.5 - 1e-12)
        if after.size and abs(self.survival[i] - 0.5) <= 1e-12:
            value = (value + float(self.times[after[0]])) / 2
        return Estimate(value, low, high)

    def restricted_mean(self, horizon: float) -> tuple[float, Interval]:
        """Return the mean of min(t, horizon), and its interval: nan unless every run's event came before.

        Raises
        ------
        ConfigError
            The horizon lies beyond the last time, and somebody was left.
        """
        if horizon > self.times[-1] and self.survival[-1] > 0:
            required = f"a horizon up to {self.times[-1]:g}, when the last run was watched"
            raise ConfigError(required, f"{horizon:g}", "choose a shorter horizon")
        inside = self.times < horizon
        knots = np.concatenate([[0.0], self.times[inside], [horizon]])
        mean = float(np.concatenate([[1.0], self.survival[inside]]) @ np.diff(knots))
        seen = np.repeat(self.times, self.events * (self.times <= horizon))
        n = int(self.at_risk[0])
        return mean, mean_interval(seen) if len(seen) == n else Interval(np.nan, np.nan, n)


def survival(times: Array, happened: Array) -> Survival:
    """Return the Kaplan-Meier curve.

    Parameters
    ----------
    times : (n,) float        when it happened, or until when the run was watched; more than 0
    happened : (n,) bool      False: censored at its time

    Raises
    ------
    ShapeError
        No run, times and events that do not match, or a time that is not finite and positive.
    """
    times, happened = _checked(times, happened)
    found = ecdf(CensoredData(uncensored=times[happened], right=times[~happened])).sf
    t, n = found.quantiles, len(times)
    at_risk = (times[None] >= t[:, None]).sum(axis=1)
    events = (times[None, happened] == t[:, None]).sum(axis=1)
    over = np.cumsum(events)
    low, high = share_interval(at_risk - events, n)[0], share_interval(n - over, n)[1]
    return Survival(t, found.probabilities, low, high, at_risk, events)


def at_most(runs: int) -> float:
    """Return the largest chance of the event that 0 of so many runs leave possible at 95 %, 1 - 0.05^(1/n)."""
    return float(1 - (1 - LEVEL) ** (1 / runs))


def log_rank(
    groups: Sequence[tuple[Array, Array, Array]], rng: np.random.Generator, exchanges: int = EXCHANGES
) -> LogRank:
    """Return the log-rank test of two groups or more.

    Parameters
    ----------
    groups : sequence of (times (n_g,), happened (n_g,), seeds (n_g,))
        Runs of one seed are exchanged among themselves, in whichever groups they are.
    rng : numpy Generator     for the exchanges
    exchanges : int

    Raises
    ------
    ShapeError
        Fewer than two groups, or as in `survival`.
    """
    if len(groups) < 2:
        raise ShapeError("two groups or more to compare", str(len(groups)), "add a group")
    checked = [_checked(times, happened) for times, happened, _ in groups]
    times, happened = (np.concatenate(part) for part in zip(*checked, strict=True))
    labels = np.repeat(np.arange(len(groups)), [len(t) for t, _ in checked])
    t = np.unique(times[happened])
    at_risk, events = times[:, None] >= t, (times[:, None] == t) & happened[:, None]  # (n, m)
    seen, df = _statistics(at_risk, events, labels[None], len(groups))
    if not df[0]:
        return LogRank(0.0, 0, 1.0, 1.0)
    others = exchanged(labels, np.concatenate([seeds for _, _, seeds in groups]), rng, exchanges)
    drawn, _ = _statistics(at_risk, events, others, len(groups))
    return LogRank(float(seen[0]), int(df[0]), p_value(seen[0], drawn), least_p(seen[0], drawn))


def _statistics(at_risk: Array, events: Array, labels: Array, groups: int) -> tuple[Array, Array]:
    """Chi-square statistics and degrees of freedom (E,) of groupings `labels` (E, n)."""
    n, d = at_risk.sum(axis=0), events.sum(axis=0)  # (m,)
    of = np.moveaxis(labels[None] == np.arange(groups)[:, None, None], 0, 1).astype(float)  # (E, groups, n)
    share = of @ at_risk / n  # (E, groups, m)
    u = (of @ events - share * d).sum(axis=2)
    c = np.divide(d * (n - d), n - 1, out=np.zeros(len(n)), where=n > 1)
    V = np.einsum("egm,gh,m->egh", share, np.eye(groups), c) - np.einsum("egm,ehm,m->egh", share, share, c)
    df = np.linalg.matrix_rank(V, tol=1e-9, hermitian=True)
    return np.einsum("eg,egh,eh->e", u, np.linalg.pinv(V, rcond=1e-9, hermitian=True), u), df


def _first(times: Array, holds: Array) -> float | None:
    found = np.flatnonzero(holds)
    return float(times[found[0]]) if found.size else None


def _checked(times: Array, happened: Array) -> tuple[Array, Array]:
    times, happened = np.asarray(times, np.float64), np.asarray(happened, np.bool_)
    if times.ndim != 1 or times.shape != happened.shape or not len(times):
        got = f"shapes {times.shape} and {happened.shape}"
        raise ShapeError("times (n,) and events (n,) of one run or more", got, "pass one of each a run")
    if not (np.isfinite(times) & (times > 0)).all():
        raise ShapeError("times that are finite and more than 0", str(times), "a run without an evaluation has no time")
    return times, happened
