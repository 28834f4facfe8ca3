"""Layer normalisation: one row, four maps.

Symbols (i = row, c = channel 0 .. D-1; every mean is over the channels of row i)
    mu = mean x        r = (mean (x - mu)^2 + eps)^(-1/2)        n = (x - mu) r
Maps
    forward      y   = gain n + shift
    backward     dx  = r (a - mean a - n mean(a n)),             a  = gain dy
                 dgain = sum_i dy n                              dshift = sum_i dy
    R-forward    Rn  = r (Rx - mean Rx - n mean(n Rx)),          Ry = Rgain n + gain Rn + Rshift
    R-backward   Rdx = (Rr/r) dx + r (Ra - mean Ra - Rn mean(a n) - n mean(Ra n + a Rn))
                 Rr/r = -r mean(n Rx),                           Ra = Rgain dy + gain Rdy
                 Rdgain = sum_i (Rdy n + dy Rn)                  Rdshift = sum_i Rdy
Source: Ba, Kiros & Hinton 2016, eq. 3-4; R-operator: Pearlmutter 1994, section 2.
"""

import math
from typing import NamedTuple

from minigrok.engine.base import Array, Engine
from minigrok.layers.sums import column_sums


class Norm(NamedTuple):
    """Gain and shift of a LayerNorm (or their gradients, or their R-directions)."""

    gain: Array  # (D,)
    shift: Array  # (D,)


class Tape(NamedTuple):
    """What forward keeps."""

    n: Array  # (N, D) normalised input
    r: Array  # (N,) reciprocal standard deviation


class Cotangents(NamedTuple):
    """What backward keeps for r_backward."""

    dy: Array  # (N, D)
    dx: Array  # (N, D)


class RTape(NamedTuple):
    """What r_forward keeps for r_backward."""

    Rn: Array  # (N, D)
    Rlog_r: Array  # (N,) Rr / r


def _forward(lo: int, hi: int, x: Array, gain: Array, shift: Array, eps: float, n: Array, r: Array, y: Array) -> None:
    real, D = x.dtype.type, x.shape[1]
    per_channel = real(1) / real(D)
    for i in range(lo, hi):
        # mu_i = mean x_i
        mu = real(0)
        for c in range(D):
            mu += x[i, c]
        mu *= per_channel
        # the variance of x_i, and r_i = 1 / sqrt(variance + eps)
        variance = real(0)
        for c in range(D):
            variance += (x[i, c] - mu) * (x[i, c] - mu)
        r[i] = real(1) / math.sqrt(variance * per_channel + real(eps))
        # n_i = (x_i - mu_i) r_i
        for c in range(D):
            n[i, c] = (x[i, c] - mu) * r[i]
        # y_i = gain n_i + shift
        for c in range(D):
            y[i, c] = gain[c] * n[i, c] + shift[c]


def _backward(lo: int, hi: int, gain: Array, n: Array, r: Array, dy: Array, dx: Array) -> None:
    real, D = n.dtype.type, n.shape[1]
    per_channel = real(1) / real(D)
    for i in range(lo, hi):
        # forward: y = gain n + shift, so the derivative by n is a = gain dy; its mean, and that of a n
        mean_a = mean_an = real(0)
        for c in range(D):
            a = gain[c] * dy[i, c]
            mean_a += a
            mean_an += a * n[i, c]
        mean_a *= per_channel
        mean_an *= per_channel
        # forward: n = (x - mu) r, so dx = r (a - mean a - n mean(a n))
        for c in range(D):
            dx[i, c] = r[i] * (gain[c] * dy[i, c] - mean_a - n[i, c] * mean_an)


def _dgain(lo: int, hi: int, dy: Array, n: Array, dgain: Array) -> None:
    """dgain_c = sum_i dy_ic n_ic for the channels lo .. hi-1."""
    mine = dgain[lo:hi]
    for c in range(mine.size):
        mine[c] = 0
    # forward: y = gain n + shift
    for i in range(n.shape[0]):
        dy_i, n_i = dy[i, lo:hi], n[i, lo:hi]
        for c in range(mine.size):
            mine[c] += dy_i[c] * n_i[c]


def _r_forward(
    lo: int,
    hi: int,
    gain: Array,
    n: Array,
    r: Array,
    Rgain: Array,
    Rshift: Array,
    Rx: Array,
    Rn: Array,
    Rlog_r: Array,
    Ry: Array,
) -> None:
    real, D = n.dtype.type, n.shape[1]
    per_channel = real(1) / real(D)
    for i in range(lo, hi):
        # mean Rx and mean(n Rx)
        mean_Rx = mean_nRx = real(0)
        for c in range(D):
            mean_Rx += Rx[i, c]
            mean_nRx += n[i, c] * Rx[i, c]
        mean_Rx *= per_channel
        mean_nRx *= per_channel
        # forward: r = 1 / sqrt(variance + eps), so Rr / r = -r mean(n Rx)
        Rlog_r[i] = -r[i] * mean_nRx
        # forward: n = (x - mu) r, so Rn = r (Rx - mean Rx - n mean(n Rx))
        for c in range(D):
            Rn[i, c] = r[i] * (Rx[i, c] - mean_Rx - n[i, c] * mean_nRx)
        # forward: y = gain n + shift
        for c in range(D):
            Ry[i, c] = Rgain[c] * n[i, c] + gain[c] * Rn[i, c] + Rshift[c]


def _r_backward(
    lo: int,
    hi: int,
    gain: Array,
    n: Array,
    r: Array,
    dy: Array,
    dx: Array,
    Rgain: Array,
    Rn: Array,
    Rlog_r: Array,
    Rdy: Array,
    Rdx: Array,
) -> None:
    real, D = n.dtype.type, n.shape[1]
    per_channel = real(1) / real(D)
    for i in range(lo, hi):
        # backward: a = gain dy, so Ra = Rgain dy + gain Rdy; the three means
        mean_an = mean_Ra = mean_Ran = real(0)
        for c in range(D):
            a = gain[c] * dy[i, c]
            Ra = Rgain[c] * dy[i, c] + gain[c] * Rdy[i, c]
            mean_an += a * n[i, c]
            mean_Ra += Ra
            mean_Ran += Ra * n[i, c] + a * Rn[i, c]
        mean_an *= per_channel
        mean_Ra *= per_channel
        mean_Ran *= per_channel
        # backward: dx = r (a - mean a - n mean(a n)); R of each factor in turn
        for c in range(D):
            Ra = Rgain[c] * dy[i, c] + gain[c] * Rdy[i, c]
            centred = Ra - mean_Ra - Rn[i, c] * mean_an - n[i, c] * mean_Ran
            Rdx[i, c] = Rlog_r[i] * dx[i, c] + r[i] * centred


def _Rdgain(lo: int, hi: int, n: Array, dy: Array, Rn: Array, Rdy: Array, Rdgain: Array) -> None:
    """Rdgain_c = sum_i (Rdy_ic n_ic + dy_ic Rn_ic) for the channels lo .. hi-1."""
    mine = Rdgain[lo:hi]
    for c in range(mine.size):
        mine[c] = 0
    # backward: dgain = sum dy n
    for i in range(n.shape[0]):
        dy_i, n_i, Rdy_i, Rn_i = dy[i, lo:hi], n[i, lo:hi], Rdy[i, lo:hi], Rn[i, lo:hi]
        for c in range(mine.size):
            mine[c] += Rdy_i[c] * n_i[c] + dy_i[c] * Rn_i[c]


def forward(engine: Engine, w: Norm, x: Array, eps: float) -> tuple[Array, Tape]:
    """Return y (N, D) and the tape; `eps` is added to the variance."""
    N, D = x.shape
    tape, y = Tape(engine.empty(N, D), engine.empty(N)), engine.empty(N, D)
    engine.rows(_forward, N, x, w.gain, w.shift, eps, tape.n, tape.r, y)
    return y, tape


def backward(engine: Engine, w: Norm, tape: Tape, dy: Array, dw: Norm | None) -> tuple[Array, Cotangents]:
    """Return dx (N, D) and what `r_backward` needs. Fill `dw` unless it is None."""
    N, D = dy.shape
    dx = engine.empty(N, D)
    engine.rows(_backward, N, w.gain, tape.n, tape.r, dy, dx)
    if dw is not None:
        engine.rows(_dgain, D, dy, tape.n, dw.gain)
        engine.rows(column_sums, D, dy, dw.shift)
    return dx, Cotangents(dy, dx)


def r_forward(engine: Engine, w: Norm, tape: Tape, Rw: Norm, Rx: Array) -> tuple[Array, RTape]:
    """Return Ry (N, D) and the R-tape."""
    N, D = Rx.shape
    rtape, Ry = RTape(engine.empty(N, D), engine.empty(N)), engine.empty(N, D)
    engine.rows(_r_forward, N, w.gain, tape.n, tape.r, Rw.gain, Rw.shift, Rx, rtape.Rn, rtape.Rlog_r, Ry)
    return Ry, rtape


def r_backward(
    engine: Engine, w: Norm, tape: Tape, dtape: Cotangents, Rw: Norm, rtape: RTape, Rdy: Array, Rdw: Norm
) -> Array:
    """Return Rdx (N, D) and fill `Rdw`."""
    N, D = Rdy.shape
    Rdx = engine.empty(N, D)
    engine.rows(_r_backward, N, w.gain, *tape, *dtape, Rw.gain, *rtape, Rdy, Rdx)
    engine.rows(_Rdgain, D, tape.n, dtape.dy, rtape.Rn, Rdy, Rdw.gain)
    engine.rows(column_sums, D, Rdy, Rdw.shift)
    return Rdx
