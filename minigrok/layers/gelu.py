"""Exact GELU: a pointwise layer is one function and its first two derivatives.

Symbols
    cdf(x) = (1 + erf(x / sqrt 2)) / 2               standard normal distribution function
    pdf(x) = exp(-x^2 / 2) / sqrt(2 pi)              its density
    f(x) = x cdf(x)        f'(x) = cdf(x) + x pdf(x)        f''(x) = (2 - x^2) pdf(x)
Maps
    forward      y   = f(x)                          slope = f'(x) is kept for the other three
    backward     dx  = f'(x) dy
    R-forward    Ry  = f'(x) Rx
    R-backward   Rdx = f'(x) Rdy + f''(x) Rx dy
Source: Hendrycks & Gimpel 2016, section 2 (the erf form, PyTorch's default).
"""

import math
from math import erf, exp
from typing import NamedTuple

from minigrok.engine.base import Array, Engine

SQRT_HALF = math.sqrt(0.5)
PDF_AT_0 = 1 / math.sqrt(2 * math.pi)


class Tape(NamedTuple):
    """What forward keeps."""

    x: Array  # (N, F)
    slope: Array  # (N, F) f'(x)


def _forward(lo: int, hi: int, x: Array, y: Array, slope: Array) -> None:
    real = x.dtype.type
    one, half, sqrt_half, pdf_at_0 = real(1), real(0.5), real(SQRT_HALF), real(PDF_AT_0)
    for i in range(lo, hi):
        # y = f(x) = x cdf(x), and f'(x) = cdf(x) + x pdf(x) for the later maps
        for c in range(x.shape[1]):
            z = x[i, c]
            u = z * sqrt_half  # erf and exp share exp(-u * u) in the CPU engine
            cdf = half * (one + erf(u))
            y[i, c] = z * cdf
            slope[i, c] = cdf + z * pdf_at_0 * exp(-u * u)


def _times_slope(lo: int, hi: int, slope: Array, dy: Array, dx: Array) -> None:
    for i in range(lo, hi):
        # forward: y = f(x), so dx = f'(x) dy; and Ry = f'(x) Rx by the same body
        for c in range(slope.shape[1]):
            dx[i, c] = slope[i, c] * dy[i, c]


def _r_backward(lo: int, hi: int, x: Array, slope: Array, dy: Array, Rx: Array, Rdy: Array, Rdx: Array) -> None:
    real = x.dtype.type
    two, half, pdf_at_0 = real(2), real(0.5), real(PDF_AT_0)
    for i in range(lo, hi):
        # backward: dx = f'(x) dy, so Rdx = f'(x) Rdy + f''(x) Rx dy, with f''(x) = (2 - x^2) pdf(x)
        for c in range(x.shape[1]):
            z2 = x[i, c] * x[i, c]
            curvature = (two - z2) * pdf_at_0 * exp(-half * z2)
            Rdx[i, c] = slope[i, c] * Rdy[i, c] + curvature * Rx[i, c] * dy[i, c]


def forward(engine: Engine, x: Array) -> tuple[Array, Tape]:
    """Return y (N, F) and the tape."""
    y, tape = engine.empty(*x.shape), Tape(x, engine.empty(*x.shape))
    engine.rows(_forward, x.shape[0], x, y, tape.slope)
    return y, tape


def backward(engine: Engine, tape: Tape, dy: Array) -> tuple[Array, Array]:
    """Return dx (N, F) and what `r_backward` needs: dy (N, F)."""
    dx = engine.empty(*dy.shape)
    engine.rows(_times_slope, dy.shape[0], tape.slope, dy, dx)
    return dx, dy


def r_forward(engine: Engine, tape: Tape, Rx: Array) -> tuple[Array, Array]:
    """Return Ry (N, F) and the R-tape: Rx (N, F)."""
    Ry = engine.empty(*Rx.shape)
    engine.rows(_times_slope, Rx.shape[0], tape.slope, Rx, Ry)
    return Ry, Rx


def r_backward(engine: Engine, tape: Tape, dy: Array, Rx: Array, Rdy: Array) -> Array:
    """Return Rdx (N, F)."""
    Rdx = engine.empty(*Rdy.shape)
    engine.rows(_r_backward, Rdy.shape[0], *tape, dy, Rx, Rdy, Rdx)
    return Rdx
