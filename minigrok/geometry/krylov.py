"""Lanczos: both ends of a spectrum with residuals, and spectral density by quadrature.

The Lanczos process on a symmetric operator A from a unit vector q_1 gives, after m products,
    A Q = Q T + beta_m q_{m+1} e_m^T        Q (P, m) orthonormal, T (m, m) tridiagonal (alpha, beta)
From T = S diag(theta) S^T:
    Ritz pair            theta_i, Q s_i
    its residual         |A Q s_i - theta_i Q s_i| = beta_m |s_{m,i}|, and an eigenvalue lies within that of theta_i
    Gauss quadrature     q_1^T f(A) q_1 ~ sum_i s_{1,i}^2 f(theta_i), exact for polynomials of degree 2m - 1
Every new vector is orthogonalised against all earlier ones, twice. No epsilon is added anywhere: beta_j at the level of
rounding, 32 eps |T|, means an invariant subspace: the process stops there and the residuals are 0. The level does not
grow with P: P eps would be 0.04 |T| for 302,914 float32 numbers, where an ordinary beta_j is smaller. Nothing depends
on the scale of A, as long as the numbers of A v are normal ones of their type: sizes are those of `lengths.norm`.
Source: Golub & Van Loan, Matrix Computations, chapter 10; quadrature: Golub & Meurant 1994, Ghorbani et al. 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from minigrok.engine import Array
from minigrok.errors import NonFiniteError
from minigrok.geometry.lengths import norm

Product = Callable[[Array], Array]
ROUNDING = 32  # eps |T|: a remainder of that size is rounding (our choice)


@dataclass(frozen=True)
class Tridiagonal:
    """What m steps of Lanczos leave.

    Attributes
    ----------
    alpha : (m,) float64      diagonal of T
    beta : (m,) float64       beta_1 .. beta_{m-1} below the diagonal, and beta_m, the size of the remainder
    basis : (P, m)            Q; beta_m is 0 where it spans an invariant subspace, and the process ended by itself
    """

    alpha: Array
    beta: Array
    basis: Array


def lanczos(
    product: Product, start: Array, steps: int, passes: int = 2, enough: Callable[[Tridiagonal], bool] | None = None
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
    enough : function, optional
        Asked after every product whether what there is will do.

    Returns
    -------
    Tridiagonal
        Memory: steps vectors of length P.

    Raises
    ------
    NonFiniteError
        A product is NaN or infinite.
    """
    steps = min(steps, start.size)
    Q = np.empty((steps, start.size), start.dtype)
    alpha, beta = np.zeros(steps), np.zeros(steps)
    q = start / norm(start)
    for j in range(steps):
        Q[j] = q
        r = np.array(product(q))
        alpha[j] = q @ r
        for _ in range(passes):
            r -= Q[: j + 1].T @ (Q[: j + 1] @ r)
        beta[j] = norm(r)
        if not np.isfinite([alpha[j], beta[j]]).all():
            do = "take a point at which the loss is finite: the run may have diverged there"
            raise NonFiniteError("products whose numbers are finite", f"others in product {j + 1}", do)
        size = max(np.abs(alpha[: j + 1]).max(), beta[: j + 1].max())
        if beta[j] <= ROUNDING * np.finfo(start.dtype).eps * size:
            beta[j] = 0.0
        found = Tridiagonal(alpha[: j + 1], beta[: j + 1], Q[: j + 1].T)
        if beta[j] == 0 or (enough and enough(found)):
            return found
        q = r / beta[j]
    return Tridiagonal(alpha, beta, Q.T)


@dataclass(frozen=True)
class Ritz:
    """Approximate eigenvalues with what is known of their errors.

    Attributes
    ----------
    values : (m,) float64       ascending
    residuals : (m,) float64    an eigenvalue lies within this distance of each value
    weights : (m,) float64      of the Gauss quadrature of the start vector; non-negative, they sum to 1
    vectors : (P, k)            of the chosen values
    """

    values: Array
    residuals: Array
    weights: Array
    vectors: Array


def ritz(t: Tridiagonal, vectors: slice | list[int] = slice(0)) -> Ritz:
    """Return all Ritz values of T, and the Ritz vectors of some of the ascending values; default none."""
    theta, S = eigh_tridiagonal(t.alpha, t.beta[:-1])
    return Ritz(theta, t.beta[-1] * np.abs(S[-1]), S[0] ** 2, t.basis @ S[:, vectors])


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
