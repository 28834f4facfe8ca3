"""Surrogate trajectories: what PCA says of motion that has no structure.

Both are Gaussian motions in R^n, and PCA reads nothing but their Gram matrix. The Gram matrix of S independent Gaussian
vectors in R^n is L L^T with a lower triangular L of chi and normal variables (Bartlett's decomposition), so a surrogate
costs S^2 random numbers whatever n is.

    random walk    x_{t+1} = x_t + s_t e_t                       steps of measured lengths s_t, isotropic directions
    decay walk     w_{t+1} = c_t w_t + a_t e_t,  x_t = w_t - w_0  from the real |w_0|; c_t is the contraction of weight
                   decay, c_t = (1 - lr wd)^(steps between t and t+1), and noise of the measured length a_t
e_t is uniform noise of unit mean square length.
Source: Bartlett 1933; the random walk's 60.8 % = 6 / pi^2 of centred variance in PC1: Antognini & Sohl-Dickstein 2018.
"""

import numpy as np

from minigrok.engine import Array


def gaussian_gram_root(count: int, n: int, rng: np.random.Generator) -> Array:
    """Return L (count, count), L L^T distributed like the Gram matrix of `count` vectors N(0, I / n) in R^n.

    Parameters
    ----------
    count, n : int
        Number of vectors and their dimension. More vectors than dimensions are drawn themselves, padded with zeros.
    rng : numpy Generator
    """
    if count > n:
        return np.pad(rng.standard_normal((count, n)) / np.sqrt(n), ((0, 0), (0, count - n)))
    L = np.tril(rng.standard_normal((count, count)), -1)
    L[np.diag_indices(count)] = np.sqrt(rng.chisquare(n - np.arange(count)))
    return L / np.sqrt(n)  # type: ignore[no-any-return]


def random_walk(lengths: Array, n: int, rng: np.random.Generator) -> Array:
    """Return the Gram matrix (T + 1, T + 1) of a random walk from 0 in R^n with T steps of these lengths."""
    T = len(lengths)
    E = gaussian_gram_root(T, n, rng) * lengths[:, None]  # steps in an orthonormal frame
    X = np.vstack([np.zeros(T), np.cumsum(E, axis=0)])
    return X @ X.T  # type: ignore[no-any-return]


def decay_walk(start: float, contractions: Array, lengths: Array, n: int, rng: np.random.Generator) -> Array:
    """Return the Gram matrix (T + 1, T + 1) of x_t = w_t - w_0 for a decaying walk; arguments as in `decay_path`."""
    W = decay_path(start, contractions, lengths, n, rng)
    X = W - W[0]
    return X @ X.T  # type: ignore[no-any-return]


def decay_path(start: float, contractions: Array, lengths: Array, n: int, rng: np.random.Generator) -> Array:
    """Return a decaying walk w_0 .. w_T in an orthonormal frame of its span, (T + 1, T + 1).

    Parameters
    ----------
    start : float
        |w_0|.
    contractions, lengths : (T,)
        c_t and a_t.
    n : int
        Dimension.
    rng : numpy Generator
    """
    T = len(lengths)
    frame = gaussian_gram_root(T + 1, n, rng)
    frame[0] *= start / np.linalg.norm(frame[0])  # w_0 itself: its length is known
    W = np.empty((T + 1, T + 1))
    W[0] = frame[0]
    for t in range(T):
        W[t + 1] = contractions[t] * W[t] + lengths[t] * frame[t + 1]
    return W
