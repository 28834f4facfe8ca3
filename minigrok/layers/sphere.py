"""Rows on the unit sphere: LayerNorm without mean, gain and shift, and of length 1 instead of sqrt D.

Symbols (i = row; a dot is a sum over the channels of row i)
    r = (x . x + EPS)^(-1/2)        n = x r
Maps
    forward      y   = n
    backward     dx  = r (dy - n (n . dy))
    R-forward    Rn  = r (Rx - n (n . Rx)),          Ry = Rn
    R-backward   Rdx = (Rr/r) dx + r (Rdy - Rn (n . dy) - n (Rn . dy + n . Rdy))
                 Rr/r = -r (n . Rx)
Each is the formula of layernorm.py with a = dy, sums for means, and no term of the mean.
Source: arXiv:2603.05228 (spherical topology). EPS keeps a row of zeros at 0, as torch.nn.functional.normalize does.
"""

import math
from typing import NamedTuple

from minigrok.engine.base import Array, Engine

EPS = 1e-24  # our choice: the square of PyTorch's 1e-12


class Tape(NamedTuple):
    """What forward keeps."""

    n: Array  # (N, D)
    r: Array  # (N,) reciprocal length


class Cotangents(NamedTuple):
    """What backward keeps for r_backward."""

    dy: Array  # (N, D)
    dx: Array  # (N, D)


class RTape(NamedTuple):
    """What r_forward keeps for r_backward."""

    Rn: Array  # (N, D)
    Rlog_r: Array  # (N,) Rr / r


def _forward(lo: int, hi: int, x: Array, n: Array, r: Array) -> None:
    real = x.dtype.type
    for i in range(lo, hi):
        # r_i = (x_i . x_i + EPS)^(-1/2)
        square = real(0)
        for c in range(x.shape[1]):
            square += x[i, c] * x[i, c]
        r[i] = real(1) / math.sqrt(square + real(EPS))
        # n_i = x_i r_i
        for c in range(x.shape[1]):
            n[i, c] = x[i, c] * r[i]


def _tangent(lo: int, hi: int, n: Array, r: Array, dy: Array, dx: Array) -> None:
    for i in range(lo, hi):
        # forward: n = x r, so dx = r (dy - n (n . dy)); and Rn = r (Rx - n (n . Rx)) by the same body
        along = n.dtype.type(0)
        for c in range(n.shape[1]):
            along += n[i, c] * dy[i, c]
        for c in range(n.shape[1]):
            dx[i, c] = r[i] * (dy[i, c] - n[i, c] * along)


def _log_r(lo: int, hi: int, n: Array, r: Array, Rx: Array, Rlog_r: Array) -> None:
    for i in range(lo, hi):
        # forward: r = (x . x + EPS)^(-1/2), so Rr / r = -r (n . Rx)
        along = n.dtype.type(0)
        for c in range(n.shape[1]):
            along += n[i, c] * Rx[i, c]
        Rlog_r[i] = -r[i] * along


def _r_backward(
    lo: int, hi: int, n: Array, r: Array, dy: Array, dx: Array, Rn: Array, Rlog_r: Array, Rdy: Array, Rdx: Array
) -> None:
    for i in range(lo, hi):
        # n . dy, and R of it
        along = Ralong = n.dtype.type(0)
        for c in range(n.shape[1]):
            along += n[i, c] * dy[i, c]
            Ralong += Rn[i, c] * dy[i, c] + n[i, c] * Rdy[i, c]
        # backward: dx = r (dy - n (n . dy)); R of each factor in turn
        for c in range(n.shape[1]):
            Rdx[i, c] = Rlog_r[i] * dx[i, c] + r[i] * (Rdy[i, c] - Rn[i, c] * along - n[i, c] * Ralong)


def forward(engine: Engine, x: Array) -> tuple[Array, Tape]:
    """Return y (N, D) and the tape."""
    tape = Tape(engine.empty(*x.shape), engine.empty(x.shape[0]))
    engine.rows(_forward, x.shape[0], x, *tape)
    return tape.n, tape


def backward(engine: Engine, tape: Tape, dy: Array) -> tuple[Array, Cotangents]:
    """Return dx (N, D) and what `r_backward` needs."""
    dx = engine.empty(*dy.shape)
    engine.rows(_tangent, dy.shape[0], *tape, dy, dx)
    return dx, Cotangents(dy, dx)


def r_forward(engine: Engine, tape: Tape, Rx: Array) -> tuple[Array, RTape]:
    """Return Ry (N, D) and the R-tape."""
    rtape = RTape(engine.empty(*Rx.shape), engine.empty(Rx.shape[0]))
    engine.rows(_tangent, Rx.shape[0], *tape, Rx, rtape.Rn)
    engine.rows(_log_r, Rx.shape[0], *tape, Rx, rtape.Rlog_r)
    return rtape.Rn, rtape


def r_backward(engine: Engine, tape: Tape, dtape: Cotangents, rtape: RTape, Rdy: Array) -> Array:
    """Return Rdx (N, D)."""
    Rdx = engine.empty(*Rdy.shape)
    engine.rows(_r_backward, Rdy.shape[0], *tape, *dtape, *rtape, Rdy, Rdx)
    return Rdx
