"""Kaplan-Meier and log-rank: textbook data, laws without censoring, what cannot be said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minigrok.errors import ConfigError, ShapeError
from minigrok.statistics.intervals import mean_interval, share_interval
from minigrok.statistics.survival import at_most, log_rank, survival

RNG = np.random.default_rng(0)
# Remission of leukaemia in weeks, drug 6-MP and placebo (Freireich et al. 1963); + is censored.
DRUG = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"


def read(text):
    return np.array([float(t.rstrip("+")) for t in text.split()]), np.array([t[-1] != "+" for t in text.split()])


def test_printed_curve_of_the_textbook():
    """Survival and number at risk as printed for these data in every course on survival."""
    found = survival(*read(DRUG))
    at = found.events > 0
    assert found.times[at].tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert found.at_risk[at].tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert found.events[at].tolist() == [3, 1, 1, 1, 1, 1, 1]
    assert np.round(found.survival[at], 4).tolist() == [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]
    assert (np.round(found.low[at][0], 3), np.round(found.high[at][0], 3)) == (0.637, 0.970)  # 18 of 21
    assert found.median() == (23, 10, None)  # 13 by the log-log interval, which covers less
    assert survival(*read(PLACEBO)).median().value == 8


def test_printed_log_rank_of_the_textbook():
    found = log_rank(apart([read(DRUG), read(PLACEBO)]), np.random.default_rng(0))
    assert (round(found.statistic, 2), found.df) == (16.79, 1)
    assert found.p < 1e-3


def apart(groups):
    """Give every run a seed of its own."""
    ends = np.cumsum([len(t) for t, _ in groups])
    return [(t, happened, np.arange(end - len(t), end)) for (t, happened), end in zip(groups, ends, strict=True)]


group = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


@given(group)
def test_without_censoring_it_is_the_share_of_runs_left(rows):
    t = np.array([time for time, _ in rows], float)
    found = survival(t, np.ones(len(t), bool))
    for at in np.arange(0, 10, 0.5):
        assert found.at(at) == pytest.approx(np.mean(t > at))
    assert found.median().value == pytest.approx(np.median(t))
    for horizon in (0.5, 4.0, t.max(), 20.0):
        mean, interval = found.restricted_mean(horizon)
        assert mean == pytest.approx(np.minimum(t, horizon).mean())
        expected = mean_interval(t)[:2] if t.max() <= horizon else (np.nan, np.nan)
        assert interval == pytest.approx((*expected, len(t)), nan_ok=True)


@given(group, st.integers(2, 5))
def test_curve_falls_and_runs_counted_twice_change_no_estimate(rows, copies):
    t, happened = (np.array(part) for part in zip(*rows, strict=True))
    found, twice = survival(t, happened), survival(np.tile(t, copies), np.tile(happened, copies))
    assert (np.diff(found.survival) <= 1e-12).all()
    assert found.survival == pytest.approx(twice.survival)
    assert found.median().value == twice.median().value
    assert (found.low <= found.survival + 1e-12).all()
    assert (found.survival <= found.high + 1e-12).all()


@given(st.integers(1, 12), st.integers(0, 100))
def test_the_interval_of_the_median_is_the_sign_tests(n, key):
    """Order statistics whose places hold the median in 95 % of the cases or more; none with fewer than six runs."""
    t = np.sort(np.random.default_rng(key).random(n)) + 1
    r = int(stats.binom.ppf(0.025, n, 0.5))  # the largest with P(fewer than r of n) <= .025
    expected = (t[r - 1], t[n - r]) if r else (None, None)
    found = survival(t, np.ones(n, bool)).median()
    assert (found.low, found.high) == (expected if r else (None, None))


@given(group)
def test_what_nobody_saw_widens_the_interval(rows):
    """Whatever happened to the censored runs afterwards, the interval of all runs' own share is inside."""
    t, happened = (np.array(part) for part in zip(*rows, strict=True))
    found = survival(t, happened)
    for later in (0.25, 100.0):
        whole = survival(np.where(happened, t, t + later), np.ones(len(t), bool))
        for i, at in enumerate(found.times):
            where = np.searchsorted(whole.times, at, side="right") - 1
            low, high = (whole.low[where], whole.high[where]) if where >= 0 else share_interval(len(t), len(t))
            assert found.low[i] <= low + 1e-12
            assert found.high[i] >= high - 1e-12


@given(group)
def test_when_a_run_ended_between_two_events_is_nothing(rows):
    """Times are whole here: a run that ended half a step later was at risk at the same events."""
    t, happened = (np.array(part) for part in zip(*rows, strict=True))
    found, later = survival(t, happened), survival(np.where(happened, t, t + 0.5), happened)
    assert [found.at(at) for at in range(10)] == [later.at(at) for at in range(10)]


def test_nobody_had_the_event():
    found = survival(np.array([50.0, 50, 50]), np.zeros(3, bool))
    assert found.survival.tolist() == [1.0]
    assert found.low == pytest.approx(0.025 ** (1 / 3))
    assert found.median() == (None, None, None)
    assert found.restricted_mean(50) == (50, pytest.approx((np.nan, np.nan, 3), nan_ok=True))
    assert at_most(3) == pytest.approx(1 - 0.05 ** (1 / 3))
    assert stats.binom.pmf(0, 3, at_most(3)) == pytest.approx(0.05)


def test_the_mean_beyond_what_was_watched_is_refused():
    found = survival(np.array([10.0, 50]), np.array([True, False]))
    with pytest.raises(ConfigError) as caught:
        found.restricted_mean(51)
    assert caught.value.got == "51"
    assert survival(np.array([10.0, 50]), np.ones(2, bool)).restricted_mean(51)[0] == 30


@given(group, group)
def test_two_groups_agree_with_scipy(a, b):
    groups = [tuple(np.array(part) for part in zip(*rows, strict=True)) for rows in (a, b)]
    found = log_rank(apart(groups), RNG, 99)
    if found.df:
        data = [stats.CensoredData(uncensored=t[d], right=t[~d]) for t, d in groups]
        theirs = stats.logrank(*data)
        assert found.statistic == pytest.approx(theirs.statistic**2, abs=1e-9)
        assert found.least <= found.p
    else:
        assert (found.statistic, found.p, found.least) == (0, 1, 1)


def test_three_groups():
    """Order of the groups is nothing, equal groups are equal, an order that leaves no doubt is found."""
    rng = np.random.default_rng(1)
    groups = [(rng.exponential(scale, 8), rng.random(8) < 0.8) for scale in (1, 2, 3)]
    first, second = log_rank(apart(groups), RNG), log_rank(apart(groups[::-1]), RNG)
    assert (first.df, second.df) == (2, 2)
    assert first.statistic == pytest.approx(second.statistic)
    same = log_rank(apart([groups[0]] * 3), RNG)
    assert (same.statistic, same.p) == (pytest.approx(0, abs=1e-9), 1)
    far = log_rank(apart([(np.arange(1.0, 4) + 10 * g, np.ones(3, bool)) for g in range(3)]), RNG)
    assert far.p == pytest.approx(6 / 1680, rel=0.6)  # 6 orders of 1680 put the groups apart
    assert far.least == far.p


def test_a_group_that_left_before_any_event_costs_no_freedom():
    early = np.array([1.0, 1]), np.zeros(2, bool)
    two = [(np.array([2.0, 3, 4]), np.ones(3, bool)), (np.array([5.0, 6, 7]), np.ones(3, bool))]
    assert log_rank(apart([*two, early]), RNG)[:2] == pytest.approx(log_rank(apart(two), RNG)[:2])


def test_repeats_of_a_seed_are_no_further_runs():
    """Two seeds of five repeats each tell no more than two runs; in common seeds the pairs decide."""
    rng = np.random.default_rng(0)
    t, yes = 1 + 0.01 * rng.random((4, 5)), np.ones(5, bool)
    t[2:] += 1
    two = [(np.concatenate(t[i : i + 2]), np.tile(yes, 2), np.repeat([i, i + 1], 5)) for i in (0, 2)]
    assert log_rank(two, RNG).least == pytest.approx(2 / 6, abs=0.05)  # 2 of the 6 ways to halve four seeds
    shared = [(times, happened, seeds % 2) for times, happened, seeds in two]
    assert log_rank(shared, RNG).least < 1e-3  # five and five within a seed can be told apart


@pytest.mark.parametrize(
    ("times", "happened"), [([], []), ([1.0], [True, False]), ([0.0], [True]), ([np.nan], [True]), ([np.inf], [False])]
)
def test_broken_input_is_refused(times, happened):
    with pytest.raises(ShapeError):
        survival(np.array(times), np.array(happened, bool))


def test_one_group_is_no_comparison():
    with pytest.raises(ShapeError, match="two groups"):
        log_rank(apart([(np.ones(2), np.ones(2, bool))]), RNG)
