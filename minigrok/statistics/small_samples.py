"""Tests that are exact for a handful of runs.

    sign test          p = P(a count this far from n/2 or farther) for n fair coins
    sign flips         p of a sum of n paired differences over all 2^n choices of their signs
    rank correlation   Spearman's rho within groups, pooled; p over every permutation within the groups
    discrimination     AUC = P(x < y) + P(x = y) / 2 over all pairs (x, y): Mann and Whitney's U of y, over n m
    exponent           slope of least squares through (ln t, ln y)
Source: Lehmann 1975 (sign, rank, Mann-Whitney); Fisher 1935 (sign flips).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, mannwhitneyu, rankdata

from minigrok.engine import Array

LEAST = 5  # runs below which a rank correlation is not judged: 4 runs cannot give p below 1/12
MOST = 50_000  # permutations that are listed, 8 runs; above: that many random ones (our choice)


class RankTest(NamedTuple):
    """Rank correlation within groups."""

    rho: float  # nan: nothing varies
    n: int  # runs in groups of two or more
    p: float | None  # two-sided; None: n too small


def sign_test(plus: int, minus: int) -> float:
    """Return the two-sided exact p of `plus` against `minus`, ties left out before; 1 for none at all."""
    n = plus + minus
    return float(binomtest(plus, n).pvalue) if n else 1.0


def flip_test(differences: Array, rng: np.random.Generator) -> float:
    """Return the two-sided p of the sum of paired differences (n,), their signs flipped; 1 for none.

    Parameters
    ----------
    differences : (n,) float
    rng : numpy Generator
        Used when there are more than MOST choices of signs.
    """
    x = np.asarray(differences, np.float64)
    n = len(x)
    is_exact = 2**n <= MOST
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 if is_exact else rng.integers(0, 2, (MOST, n))
    as_far = int((np.abs((2 * bits - 1) @ x) >= abs(x.sum()) - 1e-9 * np.abs(x).sum()).sum())
    return as_far / len(bits) if is_exact else (as_far + 1) / (MOST + 1)


def rank_test(groups: Sequence[tuple[Array, Array]], rng: np.random.Generator) -> RankTest:
    """Return Spearman's rho of x and y within groups, pooled over the groups.

    Parameters
    ----------
    groups : sequence of (x (n_g,), y (n_g,))
        Ranks are taken within a group, ties shared, and centred; groups of one say nothing.
    rng : numpy Generator
        Used when there are more than MOST permutations.
    """
    ranks = [(centred_ranks(x), centred_ranks(y)) for x, y in groups if len(x) > 1]
    n = sum(len(x) for x, _ in ranks)
    size = math.sqrt(sum(float(x @ x) for x, _ in ranks) * sum(float(y @ y) for _, y in ranks))
    if size == 0:
        return RankTest(float("nan"), n, None)
    observed = sum(float(x @ y) for x, y in ranks)
    orders = math.prod(math.factorial(len(x)) for x, _ in ranks)
    if n < LEAST:
        return RankTest(observed / size, n, None)
    is_exact = orders <= MOST
    sums = np.array(list(_all_sums(ranks) if is_exact else _random_sums(ranks, rng)))
    as_far = int((np.abs(sums) >= abs(observed) - 1e-9 * size).sum())
    p = as_far / orders if is_exact else (as_far + 1) / (MOST + 1)
    return RankTest(observed / size, n, p)


def centred_ranks(x: Array) -> Array:
    """Return the ranks of x (n,), ties shared, less their mean."""
    return np.asarray(rankdata(x) - (len(x) + 1) / 2, np.float64)


def auc(early: Sequence[float], late: Sequence[float]) -> float:
    """Return the share of pairs whose first number is the smaller one, ties half; nan without pairs."""
    pairs = len(early) * len(late)
    return float(mannwhitneyu(late, early).statistic) / pairs if pairs else float("nan")


def exponent(t: Array, y: Array) -> float:
    """Return a in y ~ t^a by least squares in logarithms.

    nan below three points, without spread in t, or if one of the numbers is not positive.
    """
    t, y = np.asarray(t, np.float64), np.asarray(y, np.float64)
    if len(t) < 3 or np.ptp(t) == 0 or not ((t > 0) & (y > 0)).all():
        return float("nan")
    u, v = np.log(t), np.log(y)
    u = u - u.mean()
    return float(u @ v / (u @ u))


def _all_sums(ranks: list[tuple[Array, Array]]) -> Iterator[float]:
    each = [np.array([x @ np.array(order) for order in permutations(y)]) for x, y in ranks]
    return (float(sum(terms)) for terms in product(*each))


def _random_sums(ranks: list[tuple[Array, Array]], rng: np.random.Generator) -> Iterator[float]:
    return (sum(float(x @ rng.permutation(y)) for x, y in ranks) for _ in range(MOST))
