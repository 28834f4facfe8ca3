"""What a path owes to weight decay and what to the updates, exactly, along fixed, turning and random directions.

theta_s = (1 - lr wd) theta_{s-1} + u_s, keep = (1 - lr wd)^n between two points of the path n steps apart:
    move m = theta_{t+n} - theta_t = a + d,    decay d = -(1 - keep) theta_t,    adaptive a = theta_{t+n} - keep theta_t
The map is linear, so it holds for coordinates along any directions.
Source: Loshchilov & Hutter 2019, algorithm 2; the decomposition: minigrok.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minigrok.engine import Array


class Parts(NamedTuple):
    """Adaptive part and decay of each interval, (T, n) each, of all coordinates or along directions."""

    adaptive: Array
    decay: Array

    @property
    def move(self) -> Array:
        """The whole move of each interval."""
        return self.adaptive + self.decay


class Shares(NamedTuple):
    """Decay share, net share and cos(a, d): see the module; dimensionless, nan where there is none."""

    decay: float
    net: float
    cosine: float


def parts(path: Array, keep: Array) -> Parts:
    """Return the exact parts of each move of a path.

    Parameters
    ----------
    path : (T + 1, n) float64    weights, or their coordinates along fixed directions: the map is linear
    keep : (T,)                  k^n of each interval
    """
    return Parts(path[1:] - keep[:, None] * path[:-1], (keep[:, None] - 1) * path[:-1])


def shares(found: Parts, is_fixed: bool = True) -> Shares:
    """Return the shares of parts (T, K) along directions; no net share where directions turn."""
    a, d, m = found.adaptive, found.decay, found.move
    net = float("nan")
    if is_fixed:
        net = _ratio(float(d.sum(axis=0) @ m.sum(axis=0)), float(np.square(m.sum(axis=0)).sum()))
    size = float(np.sqrt(np.square(a).sum() * np.square(d).sum()))
    return Shares(_ratio(float((d * m).sum()), float(np.square(m).sum())), net, _ratio(float((a * d).sum()), size))


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")


def held(found: Parts, whole: Parts) -> Array:
    """Return the energy (3,) of a, d and m along directions, over that of all coordinates of the run."""
    pairs = zip((*found, found.move), (*whole, whole.move), strict=True)
    return np.array([_ratio(float(np.square(x).sum()), float(np.square(y).sum())) for x, y in pairs])


def moving_parts(G: Array, keep: Array, combinations: list[list[Array]]) -> Parts:
    """Return parts (T, K) along unit directions c W that turn, from the Gram matrix G of W; nan: no direction."""
    adaptive, decay = (np.full((len(keep), max(map(len, combinations))), np.nan) for _ in range(2))
    for t, each in enumerate(combinations):
        for j, c in enumerate(each):
            size = np.sqrt(max(float(c @ G @ c), 0.0))
            x = (G @ c)[t : t + 2] / size if size > 0 else np.zeros(2)
            adaptive[t, j], decay[t, j] = x[1] - keep[t] * x[0], (keep[t] - 1) * x[0]
    return Parts(adaptive, decay)


def random_parts(blocks: Sequence[tuple[Array, int]], keep: Array, draws: int, rng: np.random.Generator) -> list[Parts]:
    """Return draws of parts (T, K) along random Gaussian directions: W g is N(0, W W^T), the Gram matrix is enough.

    Parameters
    ----------
    blocks : sequence of (G (T + 1, T + 1), k)    Gram matrix of the path in n coordinates over n; directions there
    keep : (T,)
    draws : int
    rng : numpy Generator
    """
    roots = []
    for G, k in blocks:
        values, vectors = np.linalg.eigh(G)
        roots.append((vectors * np.sqrt(np.maximum(values, 0.0)), k))
    paths = (np.hstack([R @ rng.standard_normal((len(R), k)) for R, k in roots]) for _ in range(draws))
    return [parts(path, keep) for path in paths]
