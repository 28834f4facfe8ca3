"""Tests about means, shares and many claims: against the intervals that they invert, printed values and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minigrok.statistics import decisions
from minigrok.statistics.intervals import mean_interval, next_interval
from minigrok.statistics.small_samples import sign_test

RNG = np.random.default_rng(0)


@given(st.integers(2, 12), st.floats(-2, 2), st.integers(0, 1000))
def test_beyond_inverts_the_interval_of_the_mean(n, bound, seed):
    values = np.random.default_rng(seed).standard_normal(n)
    low, high, _ = mean_interval(values)
    assert (decisions.beyond(values, bound) <= 0.05) == (not low < bound < high)
    assert decisions.beyond(values, bound) == pytest.approx(stats.ttest_1samp(values, bound).pvalue)


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    values = RNG.normal(0.1, 1, 9)
    p = [
        stats.ttest_1samp(values, -1.5, alternative="greater").pvalue,
        stats.ttest_1samp(values, 1.5, alternative="less").pvalue,
    ]
    assert decisions.equivalence(values, 1.5) == pytest.approx(max(p))


@pytest.mark.parametrize("test", [decisions.beyond, decisions.equivalence])
def test_values_that_do_not_vary_are_a_count(test):
    inside = 0.5 if test is decisions.equivalence else 2.0
    assert test(np.full(8, inside), 1.0) == sign_test(8, 0)
    assert test(np.full(8, 1.0), 1.0) == 1
    assert test(np.array([0.0]), 1.0) == test(np.zeros(0), 1.0) == 1


def test_false_claims_are_as_rare_as_stated():
    """Mean on the bound: 5 % two-sided, and 5 % of equivalence, the most that its null allows."""
    draws = RNG.normal(1.0, 0.3, (2000, 8))
    beyond = np.mean([decisions.beyond(x, 1.0) <= 0.05 for x in draws])
    equal = np.mean([decisions.equivalence(x, 1.0) <= 0.05 for x in draws])
    assert 0.035 < beyond < 0.065
    assert 0.035 < equal < 0.065


def test_one_more_value_lies_in_the_prediction_interval():
    draws = RNG.normal(5, 2, (4000, 7))
    inside = [low < x[-1] < high for x in draws for low, high, _ in [next_interval(x[:-1])]]
    assert 0.94 < np.mean(inside) < 0.96
    assert np.isnan(next_interval([1.0])[:2]).all()
    assert np.isnan(next_interval([])[:2]).all()


def test_shares():
    assert decisions.share_p(10, 10, 0.5) == pytest.approx(2**-9)
    assert decisions.share_p(0, 0, 0.5) == 1
    assert decisions.unlike(3, 3, 0, 3) == pytest.approx(0.1)  # one table of twenty at either end
    assert decisions.unlike(3, 3, 0, 0) == 1


@given(st.integers(1, 10), st.floats(0.05, 0.95))
def test_events_of_one_chance_are_binomial(n, chance):
    for k in range(n + 1):
        assert decisions.at_least(k, [chance] * n) == pytest.approx(stats.binom.sf(k - 1, n, chance))


def test_holm_of_the_printed_example_and_of_none():
    """Four p: 4 x .005, 3 x .01, 2 x .03 and then no smaller."""
    assert decisions.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert decisions.holm([]) == []
    assert np.isnan(decisions.holm([float("nan"), 0.5])[0])
    assert decisions.holm([float("nan"), 0.04])[1] == pytest.approx(0.04)


def test_holm_keeps_the_chance_of_any_false_claim():
    """Five nulls at once, dependent: any p below .05 in 5 % of the draws at most."""
    common = RNG.standard_normal((3000, 1))
    p = 2 * stats.norm.sf(np.abs(0.7 * common + 0.71 * RNG.standard_normal((3000, 5))))
    assert np.mean([min(decisions.holm(row)) <= 0.05 for row in p]) < 0.06
