"""p by exchange: what a statistic is when labels that would mean nothing are exchanged between runs.

    p = (1 + draws that are as far or farther) / (1 + draws)
The p of a null whose draws and the measured case are alike is at most alpha with chance at most alpha, for any number
of runs. A draw without a value counts as farther, and a measured case without one has no p.
Runs of one seed are alike (split, initial parameters, batches), so the seed is the unit: labels are exchanged within a
seed, and between seeds only whole seeds of equally many runs. With one run a seed this is every exchange of runs; with
every condition in every seed it is the paired test; repeats of one seed never count as so many seeds.
Source: Phipson & Smyth 2010 (p of random exchanges); Good 2005, chapter 3 (blocks); the rule for seeds: minigrok.
"""

import numpy as np

from minigrok.engine import Array

EXCHANGES = 10_000  # our choice
SIGNIFICANT = 0.05  # the usual convention
TIE = 1e-9  # relative difference of statistics that are equal but for rounding: our choice


def p_value(seen: float, drawn: Array) -> float:
    """Return p of a statistic that is large where the null is wrong; nan if it does not exist.

    Parameters
    ----------
    seen : float         measured
    drawn : (n,) float   of the null
    """
    if not np.isfinite(seen) or not len(drawn):
        return float("nan")
    return float((1 + np.sum(~(drawn < seen - TIE * abs(seen)))) / (1 + len(drawn)))


def least_p(seen: float, drawn: Array) -> float:
    """Return the smallest p that these draws can give, that of the largest statistic among them."""
    return p_value(float(np.nanmax(np.append(drawn, seen))), drawn)


def exchanged(labels: Array, seeds: Array, rng: np.random.Generator, exchanges: int = EXCHANGES) -> Array:
    """Return random exchanges (exchanges, n) of labels (n,) between runs of these seeds (n,).

    Parameters
    ----------
    labels : (n,)
        Of each run: its condition, or a number that would say nothing of the run under the null.
    seeds : (n,) int
        Seeds must stand for units: runs of one seed are exchanged among themselves.
    rng : numpy Generator
    exchanges : int
    """
    found = np.empty((exchanges, len(labels)), np.asarray(labels).dtype)
    places = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    for size in sorted({len(place) for place in places}):
        blocks = np.array([place for place in places if len(place) == size])  # (seeds, size)
        some = np.asarray(labels)[blocks]
        for each in found:
            each[blocks] = rng.permuted(some[rng.permutation(len(some))], axis=1)
    return found
