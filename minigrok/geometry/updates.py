"""Spectra of short windows of updates, from the Gram matrix of the updates alone.

Updates u_t = w_t - w_{t-1} between successive snapshots, T of them; G = U U^T (T, T). A window is `width` updates in a
row; its singular values S_1 >= S_2 >= ... are the roots of the eigenvalues of a (width, width) block of G.
    g23    S_2^2 - S_3^2                          unit of the weights squared; scales with the size of the updates
    share  g23 / sum S^2                          dimensionless, between 0 and 1/2
    score  (S_j / sum S) (S_j / S_{j+1})          k* = its argmax over j = 1 .. width - 1
    R      S_{k*} / S_{k*+1}
Null: a random walk with steps of the measured lengths in isotropic directions; in high dimension its updates are nearly
orthogonal, so that S are nearly the sorted lengths.
Source: arXiv:2602.18523, Gram matrix analysis (g23, k*, R); share, contiguous windows, nulls: minigrok.
"""

from dataclasses import dataclass

import numpy as np

from minigrok.engine import Array
from minigrok.geometry.nulls import gaussian_gram_root
from minigrok.geometry.subspace import CHUNK


@dataclass(frozen=True)
class Windows:
    """Scores of W windows; nan where nothing moved.

    Attributes
    ----------
    g23, share, R, k : (W,) float    R is inf if S_{k*+1} is 0 to rounding
    """

    g23: Array
    share: Array
    R: Array
    k: Array


def contiguous(steps: Array, width: int) -> tuple[Array, Array]:
    """Find the updates and the windows that a log with gaps leaves.

    Parameters
    ----------
    steps : (S,) int
        Of the snapshots, ascending.
    width : int
        Updates in a window.

    Returns
    -------
    spacing_ok : (S - 1,) bool     whether the update spans the usual spacing, the most frequent one
    starts : (W,) int              first updates of the windows that have only such updates
    """
    gaps = np.diff(steps)
    if not len(gaps):
        return np.zeros(0, np.bool_), np.zeros(0, np.int64)
    values, counts = np.unique(gaps, return_counts=True)
    usual = gaps == values[np.argmax(counts)]
    starts = [i for i in range(len(gaps) - width + 1) if usual[i : i + width].all()]
    return usual, np.array(starts, np.int64)


def gram(W: Array) -> Array:
    """Return the Gram matrix (S - 1, S - 1) of the updates of W (S, n), differences and sums in float64."""
    G = np.zeros((len(W) - 1, len(W) - 1))
    for lo in range(0, W.shape[1], CHUNK):
        U = np.diff(W[:, lo : lo + CHUNK].astype(np.float64), axis=0)
        G += U @ U.T
    return G


def score(G: Array, starts: Array, width: int) -> Windows:
    """Return the scores of the windows that begin at updates `starts` (W,) of G (T, T)."""
    rows = starts[:, None] + np.arange(width)
    variances = np.linalg.eigvalsh(G[rows[:, :, None], rows[:, None, :]])[:, ::-1]
    floor = width * np.finfo(np.float64).eps * variances[:, :1]
    variances = np.where(variances > floor, variances, 0.0)  # rounding of G is not a singular value
    S = np.sqrt(variances)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = S[:, :-1] / S[:, 1:]
        scores = S[:, :-1] / S.sum(axis=1, keepdims=True) * ratios
        share = (variances[:, 1] - variances[:, 2]) / variances.sum(axis=1)
    still = S[:, 0] == 0
    best = np.argmax(np.where(np.isnan(scores), -1.0, scores), axis=1)
    R = np.where(still, np.nan, ratios[np.arange(len(S)), best])
    return Windows(variances[:, 1] - variances[:, 2], share, R, np.where(still, np.nan, best + 1.0))


def walk_gram(lengths: Array, n: int, rng: np.random.Generator) -> Array:
    """Return the Gram matrix (T, T) of isotropic Gaussian updates in R^n of these mean-square lengths (T,)."""
    T = len(lengths)
    E = gaussian_gram_root(T, n, rng) if n >= T else rng.standard_normal((T, n)) / np.sqrt(n)
    E = E * lengths[:, None]
    return np.asarray(E @ E.T)


def shuffled(G: Array, rng: np.random.Generator) -> Array:
    """Return G (T, T) of the same updates in a random order."""
    order = rng.permutation(len(G))
    return np.asarray(G[np.ix_(order, order)])


def decline(values: Array) -> float:
    """Return the largest over the last value (the paper's decline, 1 or more by construction).

    nan if the last one is 0, or one of them does not exist.
    """
    last = values[-1] if len(values) else 0.0
    return float(np.max(values) / last) if last > 0 else float("nan")


def first_share(k: Array) -> float:
    """Return the share of windows with k* = 1; nan if one of them has no k*."""
    return float(np.mean(np.where(np.isnan(k), np.nan, k == 1)))
