"""Bases of subspaces of parameter space, how much of a vector lies in them, and what chance would put there.

A basis B has orthonormal blocks B_b (n_b, k_b), each on a slice of the flat vector; K = sum k_b.
    attention matrices    top k centred principal components of the trajectory of each matrix   (paper: 16 or 24 in all)
    full vector           top K uncentred principal components of the whole trajectory          (paper: 20)
Share of a vector        s = |B^T x|^2 / |x|^2, an energy; the paper's rho is sqrt(1 - s)
Share expected by chance, for a fixed x
    anywhere              K random directions of R^P                          K / P
    in the same blocks    k_b random directions of each slice                 sum_b (|x_b|^2 / |x|^2) k_b / n_b
s is judged by log10(s / expected), with the band of the random draws (minigrok.statistics.intervals): rho is
1 - O(K / P) whatever x is.
Angles between two bases: singular values cos(phi_i) of A^T B; overlap = mean of cos^2(phi_i), by chance K / n.
A^T B of a fixed A (n, k) and a uniformly random B (n, m) has the law of G (G^T G + W)^(-1/2), G (k, m) standard normal
and W Wishart with n - k degrees of freedom: no random basis is ever built.
Source: bases: arXiv:2602.18523, code aa4e72f; laws of random subspaces: Muirhead 1982, chapters 1.5 and 3.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from minigrok.engine import Array
from minigrok.geometry import nulls, subspace
from minigrok.statistics.intervals import band

Block = tuple[Array, slice]


@dataclass(frozen=True)
class Basis:
    """Orthonormal columns in blocks.

    Attributes
    ----------
    blocks : sequence of ((n_b, k_b) float64, slice)
        Disjoint slices of the flat vector; none: the subspace {0}.
    size : int
        P.
    """

    blocks: Sequence[Block]
    size: int

    @property
    def rank(self) -> int:
        """Number of columns, K."""
        return sum(block.shape[1] for block, _ in self.blocks)

    @property
    def places(self) -> list[tuple[slice, int]]:
        """Slice and number of columns of each block: what `subspace.random_shares` takes."""
        return [(place, block.shape[1]) for block, place in self.blocks]

    def share(self, x: Array) -> float:
        """Return |B^T x|^2 / |x|^2 of x (P,); nan for x = 0 and for a basis without columns."""
        size = float(x @ x)
        inside = sum(float(np.square(block.T @ x[place]).sum()) for block, place in self.blocks)
        return inside / size if size > 0 and self.rank else float("nan")


class Chance(NamedTuple):
    """An observed share beside what random subspaces hold; dimensionless energies.

    share : observed
    anywhere, blocks : expected from random subspaces of R^P, and of the same slices
    low, high : band of the draws in the same slices; nan where there are too few
    """

    share: float
    anywhere: float
    blocks: float
    low: float
    high: float


def against_chance(basis: Basis, x: Array, draws: int, rng: np.random.Generator) -> Chance:
    """Return the share of x (P,) float64 in a basis, and that in random bases; all nan where there is no share."""
    share = basis.share(x)
    if np.isnan(share):
        return Chance(*[float("nan")] * 5)
    size = float(x @ x)
    expected = sum(float(x[p] @ x[p]) / size * k / (p.stop - p.start) for p, k in basis.places)
    low, high = band(subspace.random_shares(x, basis.places, draws, rng))
    return Chance(share, basis.rank / basis.size, expected, float(low), float(high))


class Trajectory:
    """A trajectory that bases are built from; Gram matrices are computed once.

    Parameters
    ----------
    X : (S, P) float32 or float64
        theta_t - theta_0, row 0 included.
    matrices : mapping of name to slice
        Places of the attention matrices.
    """

    def __init__(self, X: Array, matrices: Mapping[str, slice]) -> None:
        self.X, self.matrices = X, matrices
        self._grams: dict[tuple[int, int], Array] = {}

    def attention(self, k: int, rows: int | None = None) -> Basis:
        """Return the top k centred components of each attention matrix, from the first `rows` snapshots (all)."""
        places = self.matrices.values()
        return Basis([(block, p) for p in places if (block := self._top(p, k, rows, True)).size], self.X.shape[1])

    def full(self, k: int, rows: int | None = None) -> Basis:
        """Return the top k uncentred components of the full vector, from the first `rows` snapshots (all)."""
        P = self.X.shape[1]
        block = self._top(slice(0, P), k, rows, False)
        return Basis([(block, slice(0, P))] if block.size else [], P)

    def _top(self, place: slice, k: int, rows: int | None, is_centred: bool) -> Array:
        key = (place.start, place.stop)
        if key not in self._grams:
            self._grams[key] = subspace.gram(self.X[:, place])
        G = self._grams[key][:rows, :rows]
        spectrum = subspace.pca(subspace.centred(G) if is_centred else G)
        return subspace.components(self.X[:rows, place], spectrum, k, is_centred)


class Angles(NamedTuple):
    """Position of two subspaces: overlap (mean cos^2, 0 .. 1), smallest and largest principal angle in degrees."""

    overlap: float
    smallest: float
    largest: float


def angles(A: Basis, B: Basis) -> Angles:
    """Return the principal angles between two bases; all nan if one of them has no column."""
    M = np.zeros((A.rank, B.rank))
    for i, (a, p) in zip(_starts(A), A.blocks, strict=True):
        for j, (b, q) in zip(_starts(B), B.blocks, strict=True):
            lo, hi = max(p.start, q.start), min(p.stop, q.stop)
            if lo < hi:
                part = a[lo - p.start : hi - p.start].T @ b[lo - q.start : hi - q.start]
                M[i : i + a.shape[1], j : j + b.shape[1]] = part
    return _angles(M)


def random_angles(A: Basis, B: Basis, rng: np.random.Generator) -> Angles:
    """Return one draw of `angles` for a random B with the same number of columns in the same slices.

    The slices of A and B must be equal or disjoint, and hold more dimensions than there are columns.
    """
    M = np.zeros((A.rank, B.rank))
    for i, (a, p) in zip(_starts(A), A.blocks, strict=True):
        for j, (b, q) in zip(_starts(B), B.blocks, strict=True):
            if p == q:
                M[i : i + a.shape[1], j : j + b.shape[1]] = _corner(len(a), a.shape[1], b.shape[1], rng)
    return _angles(M)


def _starts(basis: Basis) -> list[int]:
    """Number of the first column of each block."""
    return [0, *np.cumsum([block.shape[1] for block, _ in basis.blocks])[:-1].tolist()] if basis.blocks else []


def _angles(M: Array) -> Angles:
    if not M.size:
        return Angles(*[float("nan")] * 3)
    cosines = np.clip(np.linalg.svd(M, compute_uv=False), 0.0, 1.0)
    degrees = np.degrees(np.arccos(cosines))
    return Angles(float(np.mean(cosines**2)), float(degrees[0]), float(degrees[-1]))


def _corner(n: int, k: int, m: int, rng: np.random.Generator) -> Array:
    """A^T B (k, m) of a fixed A (n, k) and a uniformly random B (n, m), up to a rotation that angles do not see."""
    G = rng.standard_normal((k, m))
    L = nulls.gaussian_gram_root(m, n - k, rng) * np.sqrt(n - k)
    R = np.linalg.cholesky(G.T @ G + L @ L.T)
    return solve_triangular(R, G.T, lower=True).T  # type: ignore[no-any-return]
