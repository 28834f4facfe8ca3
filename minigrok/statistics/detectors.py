"""Detectors of the onset of the commutator defect: pure functions of (steps, D).

A trace is D (n,) at steps (n,), ascending. Each detector returns where it fires, at most once.

    v1            baseline b = median of D over the first 30 % of the trace; first of 3 values in a row with D > 3 b
    v2            e_i = max of log10 D over i-2 .. i+2 (zeros count as 0.01); b = median of e over the first 25 %;
                  first i in the other 75 % with e_i > b + log10 5
    v2 past only  the same with e_i over i-4 .. i: what v2 becomes when it may not look ahead (control)
    spike         b = median of the first three D, at least 0.1; first i >= 2 with D > 10 b and D > 20; the paper's rule
                  for three tasks, and with other factors and floors the threshold family

v1 and v2 scale their baseline window with the length of the trace, and a run ends when it has grokked: both depend on
the grok step before they see a single D. v2 reads two values after the one that it reports; `known_at` says when each
detector could have spoken at the earliest.
Source: arXiv:2602.18523, code aa4e72f (v1, v2, spike); past only, known_at: minigrok.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minigrok.engine import Array

ZERO = 0.01  # what v2 puts for an exact zero (paper)
WINDOW = 5  # values in the envelope of v2 (paper)


class Onset(NamedTuple):
    """Where a detector fires; None: nowhere."""

    step: int | None
    known_at: int | None  # step of the last value that had to be read to know it
    search_from: int | None  # first step that the detector could have returned; None: the trace is too short


Detector = Callable[[Array, Array], Onset]


def v1(steps: Array, D: Array, factor: float = 3.0, share: float = 0.30, sustain: int = 3) -> Onset:
    """First of `sustain` values in a row above `factor` times the median of the first `share`.

    Parameters
    ----------
    steps : (n,) int
        Ascending.
    D : (n,) float
        Defect, dimensionless, 0 or more.
    factor, share, sustain : number
        The paper's first choice; the baseline has three values at least, and the search begins at the first value.
    """
    n_base = _base(len(D), share)
    if len(D) < max(n_base, sustain):
        return Onset(None, None, None)
    above = factor * np.median(D[:n_base]) < D
    for i in range(len(D) - sustain + 1):
        if above[i : i + sustain].all():
            return Onset(int(steps[i]), int(steps[max(i + sustain, n_base) - 1]), int(steps[0]))
    return Onset(None, None, int(steps[0]))


def v2(steps: Array, D: Array, factor: float = 5.0, share: float = 0.25, is_centred: bool = True) -> Onset:
    """First value after the baseline window whose envelope is `factor` times the baseline.

    Parameters
    ----------
    steps, D : (n,)
        As in `v1`.
    factor, share : float
        The paper's second choice, the one behind its 15 of 15.
    is_centred : bool
        Whether the envelope at i reads up to two values after i (paper), or the last five.
    """
    n, n_base, ahead = len(D), _base(len(D), share), WINDOW // 2 if is_centred else 0
    if n <= n_base:
        return Onset(None, None, None)
    e = envelope(D, ahead)
    found = np.flatnonzero(e[n_base:] > np.median(e[:n_base]) + np.log10(factor))
    start = int(steps[n_base])
    if not found.size:
        return Onset(None, None, start)
    i = n_base + int(found[0])
    return Onset(int(steps[i]), int(steps[min(i + ahead, n - 1)]), start)


def v2_past_only(steps: Array, D: Array) -> Onset:
    """`v2` with an envelope over the last five values."""
    return v2(steps, D, is_centred=False)


def spike(steps: Array, D: Array, factor: float = 10.0, floor: float = 20.0, least: float = 0.1) -> Onset:
    """First value, from the third on, above `floor` and above `factor` times the median of the first three.

    Parameters
    ----------
    steps, D : (n,)
        As in `v1`.
    factor, floor : float
        The paper's are 10 and 20.
    least : float
        Least baseline (paper).
    """
    if len(D) < 3:
        return Onset(None, None, None)
    baseline = max(float(np.median(D[:3])), least)
    found = np.flatnonzero((D[2:] > factor * baseline) & (D[2:] > floor))
    at = int(steps[2 + found[0]]) if found.size else None
    return Onset(at, at, int(steps[2]))


DETECTORS: dict[str, Detector] = {"v1": v1, "v2": v2, "v2 past only": v2_past_only, "spike": spike}


def envelope(D: Array, ahead: int = WINDOW // 2) -> Array:
    """Return e (n,), the largest log10 D among WINDOW values, `ahead` of them after i; cut off at both ends."""
    logs = np.log10(np.where(D == 0, ZERO, D))
    lows = np.arange(len(D)) - (WINDOW - 1 - ahead)
    return np.array([logs[max(lo, 0) : lo + WINDOW].max() for lo in lows])


def _base(n: int, share: float) -> int:
    """Values in the baseline window (paper: three at least)."""
    return max(3, int(share * n))
