"""Rebuilding a network from the principal components of its own trajectory: theta_k, k*, and paths without structure.

    rows        X_t = theta_t - origin_t                             (S, P), step t
    directions  V_k (P, k), the first k principal components of X, uncentred or centred (minigrok.geometry.subspace)
    theta_k     origin_T + V_k V_k^T (theta_T - origin_T)
    outside     1 - |V_k^T delta|^2 / |delta|^2,  delta = theta_T - origin_T
Origins: the initial weights (paper); 0; what weight decay leaves of the initial weights, (1 - lr wd)^t theta_0, which
is known without any fit; the mean row.
k*          smallest k at which every task's accuracy reaches the mark: the first crossing (paper). The curve is not
            monotone, so there is also the smallest k from which on it stays there.

Null: a bridge. theta_T is a row of X and so partly rebuilt whatever the path was. A path from theta_0 that ends at
theta_T and has no structure between them is a decaying Gaussian walk with the measured lengths, given its end:
    free        u_0 = 0,  u_{t+1} = c_t u_t + a_t e_t,   e_t Gaussian, E |e_t|^2 = 1
    variances   v_0 = 0,  v_{t+1} = c_t^2 v_t + a_t^2;   g_t = v_t c_t .. c_{T-1}, the covariance of u_t and u_T
    bridge      w_t = C_t theta_0 + u_t + (g_t / v_T) (theta_T - C_T theta_0 - u_T),  C_t = c_0 .. c_{t-1}
c = 1: a random walk; c_t = (1 - lr wd)^(steps between t and t + 1): decay and noise (an AR(1), or OU, process).
Source: theta_k, k*: arXiv:2602.18523, code aa4e72f; conditional law: Anderson 2003, theorem 2.5.1; null: minigrok.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minigrok.engine import Array
from minigrok.geometry import subspace

MARK = 0.9  # accuracy that every task must reach at k* (paper)


def directions(X: Array, k: int, is_centred: bool) -> tuple[Array, Array]:
    """Return the first k principal directions of rows X (S, P) as columns (P, <= k), and all variance shares (S,)."""
    G = subspace.gram(X)
    spectrum = subspace.pca(subspace.centred(G) if is_centred else G)
    return subspace.components(X, spectrum, k, is_centred), spectrum.shares


class Rebuilt(NamedTuple):
    """Networks rebuilt in a subspace of growing dimension.

    origin : (P,)
    V : (P, K)            orthonormal columns
    inside : (K,)         V^T delta
    size : float          |delta|^2
    """

    origin: Array
    V: Array
    inside: Array
    size: float

    def theta(self, k: int) -> Array:
        """Return theta_k (P,); k above K gives theta_K."""
        return np.asarray(self.origin + self.V[:, :k] @ self.inside[:k])

    def outside(self, k: int) -> float:
        """Return the share of |delta|^2 outside the first k directions; nan for delta = 0."""
        return 1 - float(self.inside[:k] @ self.inside[:k]) / self.size if self.size > 0 else float("nan")


def rebuilt(V: Array, origin: Array, final: Array) -> Rebuilt:
    """Return the projections of final - origin (P,) on orthonormal columns V (P, K)."""
    delta = final - origin
    return Rebuilt(origin, V, V.T @ delta, float(delta @ delta))


def first_crossing(ks: Array, passes: Array) -> int | None:
    """Return the smallest k that passes; None if none does. ks (N,) ascending, passes (N,) bool."""
    return int(ks[np.argmax(passes)]) if np.any(passes) else None


def lasting_crossing(ks: Array, passes: Array) -> int | None:
    """Return the smallest k such that it and all larger ones measured pass; None if the last one does not."""
    failing = np.flatnonzero(~np.asarray(passes, bool))
    first = int(failing[-1]) + 1 if len(failing) else 0
    return int(ks[first]) if first < len(ks) else None


def moves(thetas: Array, contractions: Array) -> Array:
    """Return |theta_{t+1} - c_t theta_t|, (S - 1,), of a trajectory (S, P)."""
    pairs = zip(pairwise(thetas), contractions, strict=True)
    return np.array([np.linalg.norm(b.astype(np.float64) - c * a) for (a, b), c in pairs])


def bridge(start: Array, end: Array, contractions: Array, lengths: Array, rng: np.random.Generator) -> Array:
    """Return a decaying Gaussian walk from `start` that ends at `end`, (T + 1, P) float64.

    Parameters
    ----------
    start, end : (P,)
        theta_0 and theta_T.
    contractions, lengths : (T,)
        c_t and a_t; where every a_t is 0 nothing is random, and the walk is start, c_1 start, ...
    rng : numpy Generator
    """
    T, P = len(lengths), len(start)
    w, v, C = np.zeros((T + 1, P)), np.zeros(T + 1), np.ones(T + 1)
    for t in range(T):
        w[t + 1] = contractions[t] * w[t] + lengths[t] / np.sqrt(P) * rng.standard_normal(P)
        v[t + 1] = contractions[t] ** 2 * v[t] + lengths[t] ** 2
        C[t + 1] = contractions[t] * C[t]
    g = v * C[-1] / C
    shares = g / v[-1] if v[-1] > 0 else np.zeros(T + 1)
    missing = end - C[-1] * start - w[-1]
    for t in range(T + 1):
        w[t] += C[t] * start + shares[t] * missing
    return w
