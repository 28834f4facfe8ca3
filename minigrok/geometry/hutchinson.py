"""Traces of symmetric operators, whole and by groups of coordinates: Hutchinson's estimator with standard errors.

For v with independent entries +-1, and a group g of coordinates
    tr A      = E[v^T A v]
    tr A_gg   = E[v_g^T (A v)_g]          the cross terms v_g^T A_gh v_h have mean 0, so one product serves every group
Variance of one draw, 0 for a diagonal operator
    2 |A_gg without its diagonal|_F^2 + sum over h != g of |A_gh|_F^2
A few large eigenvalues dominate it, which the standard error shows. The number of probes is fixed beforehand: to stop
when two running means agree is to stop by luck.
Source: Hutchinson 1990; groups: minigrok.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigrok.engine import Array


@dataclass(frozen=True)
class Traces:
    """Draws of traces.

    Attributes
    ----------
    each : (probes, ..., n) float64    one draw of each group's trace; "..." are the operators of a stack
    """

    each: Array

    @property
    def mean(self) -> Array:
        """Estimates (..., n)."""
        return self.each.mean(axis=0)  # type: ignore[no-any-return]

    @property
    def error(self) -> Array:
        """Standard errors (..., n) of the estimates; nan with a single probe, which says nothing of its error."""
        n = len(self.each)
        if n == 1:
            return np.full(self.each.shape[1:], np.nan)
        return self.each.std(axis=0, ddof=1) / np.sqrt(n)  # type: ignore[no-any-return]


def hutchinson(
    product: Callable[[Array], Array], size: int, probes: int, rng: np.random.Generator, groups: Array | None = None
) -> Traces:
    """Return draws of the traces of one operator, or of several that share the probes.

    Parameters
    ----------
    product : function
        v (P,) float64 -> A v (P,), or (k, P) for a stack of k operators.
    size, probes : int
        P, and the number of random vectors: at least 1.
    rng : numpy Generator
    groups : (n, P) bool, optional
        Coordinates of each group; default one group of all.

    Notes
    -----
    `probes` products. Memory: one vector for each operator, and the masks.
    """
    masks = np.ones((1, size)) if groups is None else groups.astype(np.float64)
    each = []
    for _ in range(probes):
        v = np.where(rng.standard_normal(size) < 0, -1.0, 1.0)
        each.append((v * product(v)) @ masks.T)
    return Traces(np.array(each))
