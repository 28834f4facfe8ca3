"""Trajectories and subspaces: PCA by the Gram matrix, and exact random nulls.

A trajectory is X (S, n): row t is a flattened matrix, or all of theta, at snapshot t, minus its value at step 0.

PCA by the Gram matrix
    G = X X^T (S, S) = U diag(lambda) U^T,   share_i = lambda_i / sum lambda,   component_i = X^T u_i / sqrt(lambda_i)
    centred: X is replaced by C X and G by C G C with C = I - 1 1^T / S
S is hundreds and n is 10^4 .. 10^6, so G is small, and it is all that shares and nulls need.

Share of a vector x in a K-dimensional subspace with orthonormal basis B:  |B^T x|^2 / |x|^2.
For a uniformly random subspace of R^n this share is Beta(K/2, (n-K)/2), exactly and for every fixed x (mean K/n); so
nulls are drawn from the Beta distribution, and no random basis is ever built.
Source: PCA: Jolliffe 2002, section 3.5; the Beta law: Muirhead 1982, theorem 1.5.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, eigvalsh

from minigrok.engine import Array
from minigrok.errors import NonFiniteError
from minigrok.geometry.lengths import balanced

CHUNK = 1 << 14  # columns that are widened to float64 at once: our choice, keeps the peak memory low


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """Return at most `most` steps, evenly spaced in their order as in the paper, both ends kept; one is the last."""
    if len(steps) <= most:
        return list(steps)
    if most == 1:
        return list(steps[-1:])
    return [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, most).astype(int))]


def gram(X: Array, kept: Array | None = None) -> Array:
    """Return X X^T (S, S) in float64, summed over chunks of columns; X (S, n) of any float dtype.

    With `kept` (S,): the same of the rows X_t - kept_t X_0, without a copy of X.
    """
    G = np.zeros((len(X), len(X)))
    for lo in range(0, X.shape[1], CHUNK):
        part = X[:, lo : lo + CHUNK].astype(np.float64)
        if kept is not None:
            part -= np.outer(kept, part[0])
        G += part @ part.T
    return G


def centred(G: Array) -> Array:
    """Return C G C, the Gram matrix after subtracting the mean row; G (S, S)."""
    rows = G - G.mean(axis=0)
    return rows - rows.mean(axis=1, keepdims=True)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Pca:
    """Spectrum of a Gram matrix.

    Attributes
    ----------
    variances : (S,) float64    eigenvalues of G, descending, clipped at 0
    vectors : (S, S) float64    their eigenvectors u_i in the columns
    """

    variances: Array
    vectors: Array

    @property
    def shares(self) -> Array:
        """Share of the total variance of each component, (S,); they sum to 1, or are nan if there is no variance."""
        total = self.variances.sum()
        return self.variances / total if total > 0 else np.full_like(self.variances, np.nan)

    @property
    def participation_ratio(self) -> float:
        """(sum lambda)^2 / sum lambda^2: the number of directions that carry the variance; nan if there is none."""
        variances = balanced(self.variances)
        squares = float(np.square(variances).sum())
        return float(variances.sum()) ** 2 / squares if squares > 0 else float("nan")


def pca(G: Array) -> Pca:
    """Return the spectrum of a Gram matrix G (S, S).

    Raises
    ------
    NonFiniteError
        A product of two rows is no number: they are too large.
    """
    _require_finite(G)
    values, vectors = eigh(G)
    return Pca(np.maximum(values[::-1], 0.0), vectors[:, ::-1])


def pc1_share(G: Array) -> float:
    """Return the share of the first component alone, as `pca` has it, at a seventh of the time; nan: no variance."""
    _require_finite(G)
    total, last = float(np.trace(G)), len(G) - 1
    return float(eigvalsh(G, subset_by_index=[last, last])[0]) / total if total > 0 else float("nan")


def _require_finite(G: Array) -> None:
    if not np.isfinite(G).all():
        do = "take the part of the run before its parameters left the range"
        raise NonFiniteError("a trajectory whose squares are finite numbers", "others", do)


def components(X: Array, spectrum: Pca, k: int, is_centred: bool) -> Array:
    """Return the first k principal directions of X (S, n) as orthonormal columns, (n, k) float64.

    Directions whose variance is at rounding level are left out, so fewer than k may come back.
    """
    floor = len(X) * np.finfo(np.float64).eps * spectrum.variances[:1].sum()
    k = min(k, int((spectrum.variances > floor).sum()))
    U = spectrum.vectors[:, :k]
    if is_centred:
        U = U - U.mean(axis=0)
    B = np.empty((X.shape[1], k))
    for lo in range(0, X.shape[1], CHUNK):
        B[lo : lo + CHUNK] = X[:, lo : lo + CHUNK].T.astype(np.float64) @ U
    return orthonormal(B)


def orthonormal(B: Array) -> Array:
    """Return an orthonormal basis of the columns of B (n, K), in their order."""
    Q, _ = np.linalg.qr(B)
    return Q


def embed(blocks: Sequence[tuple[Array, slice]], size: int) -> Array:
    """Return one basis (size, sum K) from bases (n_b, K_b) of disjoint slices of the flat vector."""
    B, column = np.zeros((size, sum(block.shape[1] for block, _ in blocks))), 0
    for block, place in blocks:
        B[place, column : column + block.shape[1]] = block
        column += block.shape[1]
    return B


def random_shares(x: Array, places: Sequence[tuple[slice, int]], n: int, rng: np.random.Generator) -> Array:
    """Return n draws (n,) of the share of x in random subspaces, block-matched.

    Parameters
    ----------
    x : (P,)
    places : sequence of (slice, k)
        In each slice of the flat vector, k uniformly random directions; one slice of everything for a plain null.
    n : int
        Number of draws.
    rng : numpy Generator
    """
    total, inside = float(x @ x), np.zeros(n)
    for place, k in places:
        part, size = float(x[place] @ x[place]), x[place].size
        inside += part * (rng.beta(k / 2, (size - k) / 2, n) if k < size else 1.0)
    return inside / total if total > 0 else np.full(n, np.nan)
