"""Kaplan-Meier and log-rank: textbook data, laws without censoring, what cannot be said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minigrok.errors import ConfigError, ShapeError
from minigrok.statistics.survival import at_most, log_rank, survival

RNG = np.random.default_rng(0)
# Remission of leukaemia in weeks, drug 6-MP and placebo (Freireich et al. 1963); + is censored.
DRUG = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"


def read(text):
    return np.array([float(t.rstrip("+")) for t in text.split()]), np.array([t[-1] != "+" for t in text.split()])


def test_printed_curve_of_the_textbook():
    """Survival, number at risk and standard error as printed for these data in every course on survival."""
    found = survival(*read(DRUG))
    at = found.events > 0
    assert found.times[at].tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert found.at_risk[at].tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert found.events[at].tolist() == [3, 1, 1, 1, 1, 1, 1]
    assert np.round(found.survival[at], 4).tolist() == [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]
    assert (np.round(found.low[at][0], 3), np.round(found.high[at][0], 3)) == (0.620, 0.952)
    assert (found.median().value, found.median().low, found.median().high) == (23, 13, None)
    assert survival(*read(PLACEBO)).median().value == 8


def test_printed_log_rank_of_the_textbook():
    found = log_rank([read(DRUG), read(PLACEBO)], np.random.default_rng(0))
    assert (round(found.statistic, 2), found.df) == (16.79, 1)
    assert found.p == pytest.approx(4.17e-5, rel=1e-2)
    assert found.p_order < 1e-3


group = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


@given(group)
def test_without_censoring_it_is_the_share_of_runs_left(rows):
    t = np.array([time for time, _ in rows], float)
    found = survival(t, np.ones(len(t), bool))
    for at in np.arange(0, 10, 0.5):
        assert found.at(at) == pytest.approx(np.mean(t > at))
    assert found.median().value == pytest.approx(np.median(t))
    for horizon in (0.5, 4.0, t.max(), 20.0):
        mean, error = found.restricted_mean(horizon)
        cut = np.minimum(t, horizon)
        assert mean == pytest.approx(cut.mean())
        assert error == pytest.approx(cut.std() / np.sqrt(len(t)), abs=1e-9)


@given(group, st.integers(2, 5))
def test_curve_falls_and_runs_counted_twice_change_no_estimate(rows, copies):
    t, happened = (np.array(part) for part in zip(*rows, strict=True))
    found, twice = survival(t, happened), survival(np.tile(t, copies), np.tile(happened, copies))
    assert (np.diff(found.survival) <= 1e-12).all()
    assert found.survival == pytest.approx(twice.survival)
    assert found.median().value == twice.median().value
    known = np.isfinite(found.low)
    assert (found.low[known] <= found.survival[known]).all()
    assert (found.survival[known] <= found.high[known]).all()


@given(group)
def test_when_a_run_ended_between_two_events_is_nothing(rows):
    """Times are whole here: a run that ended half a step later was at risk at the same events."""
    t, happened = (np.array(part) for part in zip(*rows, strict=True))
    found, later = survival(t, happened), survival(np.where(happened, t, t + 0.5), happened)
    assert [found.at(at) for at in range(10)] == [later.at(at) for at in range(10)]


def test_nobody_had_the_event():
    found = survival(np.array([50.0, 50, 50]), np.zeros(3, bool))
    assert found.survival.tolist() == [1.0]
    assert np.isnan([*found.low, *found.high]).all()
    assert found.median() == (None, None, None)
    assert found.restricted_mean(50) == (50, 0)
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
    found = log_rank(groups, RNG, 99)
    if found.df:
        data = [stats.CensoredData(uncensored=t[d], right=t[~d]) for t, d in groups]
        theirs = stats.logrank(*data)
        assert found.statistic == pytest.approx(theirs.statistic**2, abs=1e-9)
        assert found.p == pytest.approx(theirs.pvalue, abs=1e-9)
    else:
        assert (found.statistic, found.p, found.p_order) == (0, 1, 1)


def test_three_groups():
    """Order of the groups is nothing, equal groups are equal, an order that leaves no doubt is found."""
    rng = np.random.default_rng(1)
    groups = [(rng.exponential(scale, 8), rng.random(8) < 0.8) for scale in (1, 2, 3)]
    first, second = log_rank(groups, RNG), log_rank(groups[::-1], RNG)
    assert (first.df, second.df) == (2, 2)
    assert first.statistic == pytest.approx(second.statistic)
    same = log_rank([groups[0]] * 3, RNG)
    assert (same.statistic, same.p_order) == (pytest.approx(0, abs=1e-9), 1)
    apart = log_rank([(np.arange(1.0, 4) + 10 * g, np.ones(3, bool)) for g in range(3)], RNG)
    assert apart.p_order == pytest.approx(6 / 1680, rel=0.6)  # 6 orders of 1680 put the groups apart


def test_a_group_that_left_before_any_event_costs_no_freedom():
    early = np.array([1.0, 1]), np.zeros(2, bool)
    two = [(np.array([2.0, 3, 4]), np.ones(3, bool)), (np.array([5.0, 6, 7]), np.ones(3, bool))]
    assert log_rank([*two, early], RNG)[:2] == pytest.approx(log_rank(two, RNG)[:2])


def test_exchanges_are_fair_under_the_null():
    """p_order of groups without a difference is uniform: below 0.25 in a quarter of the cases, 3 standard errors."""
    rng, count = np.random.default_rng(2), 0
    for _ in range(200):
        t, cap = rng.exponential(1, 9), 1.5
        seen, happened = np.minimum(t, cap), t < cap
        groups = [(seen[i : i + 3], happened[i : i + 3]) for i in (0, 3, 6)]
        count += log_rank(groups, rng, 500).p_order < 0.25
    assert abs(count / 200 - 0.25) < 3 * np.sqrt(0.25 * 0.75 / 200)


@pytest.mark.parametrize(
    ("times", "happened"), [([], []), ([1.0], [True, False]), ([0.0], [True]), ([np.nan], [True]), ([np.inf], [False])]
)
def test_broken_input_is_refused(times, happened):
    with pytest.raises(ShapeError):
        survival(np.array(times), np.array(happened, bool))


def test_one_group_is_no_comparison():
    with pytest.raises(ShapeError, match="two groups"):
        log_rank([(np.ones(2), np.ones(2, bool))], RNG)
