"""Orbits of pairs under the symmetries of operations: which pairs have, without arithmetic, one answer.

    orbit      all pairs that the maps of a group make of one pair; an image with a number that no pair has is left out
    partner    of a test pair: a train pair of its orbit. Whoever knows the train pairs and the symmetries answers a
               test pair with a partner, and no other
Which maps an operation has: minigrok.config.symmetries.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from minigrok.config.operations import Ints
from minigrok.config.symmetries import Map

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def orbits(tokens: Ints, p: int, maps: Sequence[Map]) -> Ints:
    """Return the orbit of each pair, by the number of its first pair.

    Parameters
    ----------
    tokens : (M, 2) int64    different pairs, each number in 0 .. p-1
    p : int
    maps : sequence of Map   a group

    Returns
    -------
    (M,) int64
        Equal for two pairs if, and only if, a map takes one to the other.
    """
    rows = np.full(p * p, len(tokens), np.int64)  # of the pair a p + b; M: there is no such pair
    rows[tokens @ (p, 1)] = np.arange(len(tokens))
    found = np.arange(len(tokens))
    for each in maps:
        image = tokens @ np.reshape(each, (2, 2)).T % p  # (M, 2)
        found = np.minimum(found, rows[image @ (p, 1)])
    return found


def has_partner(orbit: Ints, rows: Ints, among: Ints) -> Bools:
    """Return whether the orbit of each of some rows (n,) has a member among others (m,), (n,) bool."""
    return np.isin(orbit[rows], orbit[among])


def lookup_weights(orbit: Ints, rows: Ints, among: Ints) -> Floats:
    """Return how many of some rows each of the others answers, (m,), if a row asks one of its partners at random.

    Their sum is the number of rows that have a partner; the expected score of the rows that have one is the mean over
    the others of whether they are answered rightly, with these weights.
    """
    asking, answering = (np.bincount(orbit[which], minlength=len(orbit)) for which in (rows, among))
    return np.asarray(asking[orbit[among]] / answering[orbit[among]])


def split_whole(orbit: Ints, order: Ints, fraction: float) -> Bools:
    """Return which pairs are train pairs, (M,) bool, so that no orbit lies on both sides.

    Parameters
    ----------
    orbit : (M,) int64    as `orbits` returns it
    order : (M,) int64    rows in random order
    fraction : float      of the orbits of each size, rounded down: so that the number of train pairs is that of every
                          order, and diagonals, whose orbits are smaller, lie on both sides as often as others
    """
    labels, first, counts = np.unique(orbit[order], return_index=True, return_counts=True)
    chosen = np.zeros(len(orbit), np.bool_)
    for size in np.unique(counts):
        group = labels[counts == size][np.argsort(first[counts == size])]  # in random order
        chosen[group[: int(fraction * len(group))]] = True
    return chosen[orbit]
