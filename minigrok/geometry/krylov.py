"""Lanczos: both ends of a spectrum with residuals, and spectral density by quadrature.

The Lanczos process on a symmetric operator A from a unit vector q_1 gives, after m products,
    A Q = Q T + beta_m q_{m+1} e_m^T        Q (P, m) orthonormal, T (m, m) tridiagonal (alpha, beta)
From T = S diag(theta) S^T:
    Ritz pair            theta_i, Q s_i
    its residual         |A Q s_i - theta_i Q s_i| = beta_m |s_{m,i}|, and an eigenvalue lies within that of theta_i
    Gauss quadrature     q_1^T f(A) q_1 ~ sum_i s_{1,i}^2 f(theta_i), exact for polynomials of degree 2m - 1
Every new vector is orthogonalised against all earlier ones, twice. No epsilon is added anywhere: beta_j at the level of
rounding, 32 eps |T|, means an invariant subspace: the process stops there and the residuals are 0. The level does not
grow with P: P eps would be 0.04 |T| for 302,914 float32 numbers, where an ordinary beta_j is smaller.
Source: Golub & Van Loan, Matrix Computations, chapter 10; quadrature: Golub & Meurant 1994, Ghorbani et al. 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from minigrok.engine import Array

Product = Callable[[Array], Array]
ROUNDING = 32  # eps |T|: a remainder of that size is rounding (our choice)


@dataclass(frozen=True)
class Tridiagonal:
    """What m steps of Lanczos leave.

    Attributes
    ----------
    alpha : (m,) float64      diagonal of T
    beta : (m,) float64       beta_1 .. beta_{m-1} below the diagonal, and beta_m, the size of the remainder
    basis : (P, m) or None    Q, if it was kept
    invariant : bool          the process ended by itself: Q spans an invariant subspace and beta_m is 0
    """

    alpha: Array
    beta: Array
    basis: Array | None
    invariant: bool

    @property
    def products(self) -> int:
        """Number of operator products spent."""
        return len(self.alpha)


def lanczos(
    product: Product, start: Array, steps: int, passes: int = 2, progress: Callable[[], None] | None = None
) -> Tridiagonal:
    """Run the Lanczos process.

    Parameters
    ----------
    product : function
        v (P,) -> A v (P,), A symmetric.
    start : (P,)
        Not zero; normalised here.
    steps : int
        Products to spend at most.
    passes : int
        Orthogonalisation sweeps over all earlier vectors: 2 keeps Q orthogonal to rounding (Parlett's "twice is
        enough"), 1 is the paper's protocol.
    progress : function, optional
        Called after each product.

    Returns
    -------
    Tridiagonal
        With the basis. Memory: steps vectors of length P.
    """
    steps = min(steps, start.size)
    Q = np.empty((steps, start.size), start.dtype)
    alpha, beta = np.zeros(steps), np.zeros(steps)
    q = start / np.linalg.norm(start)
    for j in range(steps):
        Q[j] = q
        r = np.array(product(q))
        if progress:
            progress()
        alpha[j] = q @ r
        for _ in range(passes):
            r -= Q[: j + 1].T @ (Q[: j + 1] @ r)
        beta[j] = np.linalg.norm(r)
        size = max(np.abs(alpha[: j + 1]).max(), beta[: j + 1].max())
        if beta[j] <= ROUNDING * np.finfo(start.dtype).eps * size:
            beta[j] = 0.0
            return Tridiagonal(alpha[: j + 1], beta[: j + 1], Q[: j + 1].T, True)
        q = r / beta[j]
    return Tridiagonal(alpha, beta, Q.T, False)


@dataclass(frozen=True)
class Ritz:
    """Approximate eigenvalues with what is known of their errors.

    Attributes
    ----------
    values : (k,) float64       ascending
    residuals : (k,) float64    an eigenvalue lies within this distance of each value
    converged : (k,) bool       residual <= tolerance times the largest |value| of the spectrum
    vectors : (P, k) or None
    products : int
    """

    values: Array
    residuals: Array
    converged: Array
    vectors: Array | None
    products: int


def ritz(t: Tridiagonal, tolerance: float, which: Array | slice | None = None, vectors: bool = False) -> Ritz:
    """Return Ritz values with residuals.

    Parameters
    ----------
    t : Tridiagonal
    tolerance : float
        Of a residual relative to the largest |Ritz value|.
    which : index, optional
        Which of the ascending values: `np.r_[:3, -3:0]` for both ends; default all.
    vectors : bool
        Also return the Ritz vectors.
    """
    theta, S = eigh_tridiagonal(t.alpha, t.beta[:-1])
    residuals = t.beta[-1] * np.abs(S[-1])
    converged = residuals <= tolerance * np.abs(theta).max()
    chosen = slice(None) if which is None else which
    V = t.basis @ S[:, chosen] if vectors and t.basis is not None else None
    return Ritz(theta[chosen], residuals[chosen], converged[chosen], V, t.products)


def ends(k: int, m: int) -> Array:
    """Numbers of the k lowest and k highest of m ascending values, without repeats."""
    return np.unique(np.r_[: min(k, m), max(m - k, 0) : m])


@dataclass(frozen=True)
class Quadrature:
    """Spectral measure from several probes.

    Attributes
    ----------
    nodes : (n_probes, m) float64      Ritz values, padded with 0 where a probe stopped early
    weights : (n_probes, m) float64    non-negative, each row sums to 1; padding has weight 0
    size : int                         P
    """

    nodes: Array
    weights: Array
    size: int

    def moment(self, f: Callable[[Array], Array]) -> tuple[float, float]:
        """Return (estimate, standard error) of trace f(A) = P E[q^T f(A) q] over the probes."""
        each = self.size * np.sum(self.weights * f(self.nodes), axis=1)
        n = len(each)
        error = each.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
        return float(each.mean()), float(error)

    def density(self, grid: Array, width: float) -> Array:
        """Return the spectral density on `grid`, each node a Gaussian of standard deviation `width`; mass 1."""
        z = (grid[:, None] - self.nodes.ravel()) / width
        bumps = np.exp(-0.5 * z * z) / (width * np.sqrt(2 * np.pi))
        return bumps @ (self.weights.ravel() / len(self.weights))  # type: ignore[no-any-return]


def quadrature(
    product: Product,
    size: int,
    probes: int,
    steps: int,
    rng: np.random.Generator,
    progress: Callable[[], None] | None = None,
) -> Quadrature:
    """Return the stochastic Lanczos quadrature of A (size P) from Gaussian probes.

    Parameters
    ----------
    product : function
        v (P,) float64 -> A v (P,).
    size, probes, steps : int
        P, number of random start vectors, products for each.
    rng : numpy Generator
    progress : function, optional
        Called after each product.
    """
    nodes, weights = np.zeros((probes, min(steps, size))), np.zeros((probes, min(steps, size)))
    for i in range(probes):
        t = lanczos(product, rng.standard_normal(size), steps, progress=progress)
        theta, S = eigh_tridiagonal(t.alpha, t.beta[:-1])
        nodes[i, : theta.size], weights[i, : theta.size] = theta, S[0] ** 2
    return Quadrature(nodes, weights, size)
