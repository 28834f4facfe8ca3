"""Exact tests against lists of all cases and printed values."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minigrok.statistics import small_samples as small

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", range(1, 9))
def test_sign_test_is_the_share_of_all_coins_as_far_from_a_half_or_farther(n):
    """Two-sided; its smallest p is 2^(1 - n)."""
    coins = np.array([sum(throws) for throws in product((0, 1), repeat=n)])
    for plus in range(n + 1):
        p = np.mean(np.abs(coins - n / 2) >= abs(plus - n / 2))
        assert small.sign_test(plus, n - plus) == pytest.approx(p, rel=1e-12)
    assert small.sign_test(n, 0) == min(1.0, 2.0 ** (1 - n))


@pytest.mark.parametrize("n", [1, 4, 7])
def test_flips_are_all_choices_of_signs_and_equal_differences_are_coins(n):
    x = RNG.normal(0.5, 1, n)
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, x, strict=True))) for signs in product((-1, 1), repeat=n)
    ]
    assert small.flip_test(x, RNG) == pytest.approx(np.mean(np.array(sums) >= abs(x.sum()) - 1e-12))
    assert small.flip_test(np.ones(n), RNG) == small.sign_test(n, 0)


def test_many_flips_are_drawn():
    assert small.flip_test(np.ones(20), RNG) < 5 / small.MOST
    assert small.flip_test(np.zeros(0), RNG) == 1


def test_no_runs_no_evidence():
    assert small.sign_test(0, 0) == 1
    assert np.isnan(small.auc([], [1.0]))
    assert small.rank_test([], RNG).p is None


@pytest.mark.parametrize("n", [5, 6])
def test_rank_test_is_spearman_with_every_permutation(n):
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((2, n))
    found = small.rank_test([(x, y)], RNG)
    rho = stats.spearmanr(x, y).statistic
    null = stats.permutation_test(
        (y,), lambda z: abs(stats.spearmanr(x, z).statistic), permutation_type="pairings", alternative="greater"
    )
    assert (found.rho, found.n) == (pytest.approx(rho), n)
    assert found.p == pytest.approx(null.pvalue, abs=1e-12)


def test_perfect_order_of_five_has_p_one_in_sixty():
    assert small.rank_test([(np.arange(5), np.arange(5))], RNG).p == pytest.approx(2 / 120)


def test_below_five_runs_no_p():
    found = small.rank_test([(np.arange(3), np.arange(3))], RNG)
    assert (found.rho, found.p) == (1, None)


def test_groups_are_ranked_within():
    """Two groups far apart, anticorrelated inside: the pooled correlation within is -1, whatever lies between."""
    groups = [(np.array([1, 2, 3]), np.array([9, 8, 7])), (np.array([101, 102, 103]), np.array([99, 98, 97]))]
    found = small.rank_test(groups, RNG)
    assert (found.rho, found.n) == (pytest.approx(-1), 6)
    assert found.p == pytest.approx(2 / 36)


def test_many_runs_use_random_permutations():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(12)
    y = x + rng.standard_normal(12)
    found = small.rank_test([(x, y)], np.random.default_rng(2))
    assert found.p * (small.MOST + 1) == pytest.approx(round(found.p * (small.MOST + 1)))
    assert found.p == pytest.approx(stats.spearmanr(x, y).pvalue, abs=0.01)


STEPS = st.lists(st.sampled_from([0, 1, 2, np.inf]), max_size=8)


@given(STEPS, STEPS)
def test_auc_is_the_share_of_all_pairs_whose_first_is_smaller_ties_half(x, y):
    """Which side counts, and ties: infinity, which stands for never, among them."""
    wins = [1.0 if a < b else 0.5 if a == b else 0.0 for a, b in product(x, y)]
    assert small.auc(x, y) == pytest.approx(np.mean(wins) if wins else np.nan, rel=1e-12, nan_ok=True)


def test_auc_counts_pairs():
    assert small.auc([1, 2], [3, 4]) == 1
    assert small.auc([1, 5], [5, 0]) == (1 + 0 + 0.5 + 0) / 4
    assert small.auc([1], [np.inf]) == 1


def test_exponent_of_a_power_and_of_a_constant():
    t = np.array([100.0, 400, 900, 2000])
    assert small.exponent(t, 3 * t**1.3) == pytest.approx(1.3)
    assert small.exponent(t, np.full(4, 50.0)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(small.exponent(t[:2], t[:2]))
    assert np.isnan(small.exponent(np.full(3, 7.0), t[:3]))


@pytest.mark.parametrize("bad", [0.0, -5.0, np.nan])
def test_a_number_that_is_not_positive_leaves_no_exponent(bad):
    """Leaving it out would fit the others, and say nothing of it."""
    t = np.array([100.0, 400, 900, 2000])
    assert np.isnan(small.exponent(t, np.array([bad, 1.0, 2.0, 3.0])))
    assert np.isnan(small.exponent(np.array([bad, 1.0, 2.0, 3.0]), t))
