"""Bands and intervals cover what they say, and are not there where they cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minigrok.statistics.intervals import LEVEL, around, band, coverage, mean_interval, share_interval

RNG = np.random.default_rng(0)


@given(st.integers(39, 400))
def test_a_band_leaves_as_many_draws_out_as_it_may(n):
    """Of n + 1 ranks that a new draw may have, r lie below the band and r above, and one more would be too many."""
    low, high = band(RNG.permutation(n).astype(float))
    r = low + 1
    assert (high, coverage(n)) == (n - r, pytest.approx(1 - 2 * r / (n + 1)))
    assert coverage(n) >= LEVEL - 1e-12 > 1 - 2 * (r + 1) / (n + 1)


@pytest.mark.parametrize("n", [0, 1, 10, 38])
def test_too_few_draws_have_no_band(n):
    assert np.isnan(band(np.zeros((n, 3)))).all()
    assert band(np.zeros((n, 3))).shape == (2, 3)
    assert np.isnan(coverage(n))


def test_a_draw_that_is_no_number_leaves_no_band_where_it_is():
    draws = np.tile(np.arange(50.0)[:, None], (1, 2))
    draws[7, 1] = np.nan
    assert np.isnan(band(draws)).tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize("n", [39, 50, 100])
def test_a_new_draw_lies_in_the_band_as_often_as_it_says(n):
    """NumPy's quantiles, the usual band, miss it: the checker can tell the two apart at 50."""
    drawn = RNG.exponential(size=(n + 1, 40_000))
    new, old = drawn[0], drawn[1:]
    error = 4 * np.sqrt(0.05 * 0.95 / 40_000)
    low, high = band(old)
    assert np.mean((new >= low) & (new <= high)) == pytest.approx(coverage(n), abs=error)
    low, high = np.quantile(old, [0.025, 0.975], axis=0)
    assert np.mean((new >= low) & (new <= high)) < LEVEL - error


def test_the_interval_of_a_mean_is_students():
    values = RNG.standard_normal(7)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(LEVEL)
    assert mean_interval(values) == pytest.approx((low, high, 7))


def test_a_mean_of_one_value_or_of_equal_ones_has_no_interval():
    for values in ([], [3.0], [3.0, 3.0, 3.0]):
        low, high, n = mean_interval(np.array(values))
        assert np.isnan([low, high]).all()
        assert n == len(values)
    assert np.isnan(around(1.0, 0.1, 0)).all()
    assert np.isnan(around(1.0, float("nan"), 5)).all()


@given(st.integers(1, 40), st.data())
def test_the_interval_of_a_share_is_clopper_and_pearsons(n, data):
    k = data.draw(st.integers(0, n))
    expected = stats.binomtest(k, n).proportion_ci(LEVEL)
    assert share_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)
