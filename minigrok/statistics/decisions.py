"""p of claims about a mean or a share, and what many claims at once allow.

    beyond       two-sided p of the mean of n values against a bound (Student); p <= .05 exactly where the bound lies
                 outside the interval of the mean
    equivalence  two one-sided t tests: p <= .05 if the 90 % interval of the mean lies inside -bound .. bound
    share        two-sided exact binomial p of k among n against a share; 1/2: the sign test
    unlike       Fisher's exact two-sided p of two counts
    at least     P(k or more of n independent events, each with a chance of its own), by convolution
    Holm         p_(i) (m - i + 1), made monotone: the chance of any false claim among m is at most alpha, whatever
                 the dependence between them
Values that do not vary have no Student's p: all that is known is on which side of the bound they lie, and the sign
test of n values says how much that is.
Source: Student 1908; Schuirmann 1987 (two one-sided tests); Fisher 1935; Holm 1979.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, fisher_exact
from scipy.stats import t as t_law

from minigrok.engine import Array
from minigrok.statistics.small_samples import sign_test


def beyond(values: Array, bound: float) -> float:
    """Return the two-sided p of the mean of values (n,) against a bound; 1 for fewer than two values."""
    t = _t(values, bound)
    n = len(values)
    if n < 2:
        return 1.0
    if not np.isfinite(t):
        return sign_test(n, 0) if t != 0 and not np.isnan(t) else 1.0
    return float(2 * t_law.sf(abs(t), n - 1))


def equivalence(values: Array, bound: float) -> float:
    """Return the p of two one-sided tests that the mean of values (n,) lies inside -bound .. bound."""
    n = len(values)
    if n < 2:
        return 1.0
    lower, upper = _t(values, -bound), -_t(values, bound)
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return sign_test(n, 0) if min(lower, upper) > 0 else 1.0
    return float(t_law.sf(min(lower, upper), n - 1))


def share_p(k: int, n: int, share: float) -> float:
    """Return the two-sided exact p of k among n against a share; 1 for n = 0."""
    return float(binomtest(k, n, share).pvalue) if n else 1.0


def unlike(k: int, n: int, others: int, of: int) -> float:
    """Return Fisher's two-sided exact p of k among n beside `others` among `of`; 1 where a group is empty."""
    return float(fisher_exact([[k, n - k], [others, of - others]])[1]) if n and of else 1.0


def at_least(k: int, chances: Sequence[float]) -> float:
    """Return P(k or more of the events), each independent and with a chance of its own."""
    law = np.ones(1)
    for chance in chances:
        law = np.convolve(law, [1 - chance, chance])
    return float(min(law[k:].sum(), 1.0))


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p of each; nan stays nan and does not count."""
    values = np.asarray(p, np.float64)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = values.copy()
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted.tolist()  # type: ignore[no-any-return]


def _t(values: Array, bound: float) -> float:
    """Return (mean - bound) over its standard error; infinite or 0 if nothing varies, nan without values."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float("nan")
    off, error = float(values.mean()) - bound, float(values.std(ddof=1)) / len(values) ** 0.5
    return off / error if error > 0 else float(np.sign(off) * np.inf) if off else 0.0
