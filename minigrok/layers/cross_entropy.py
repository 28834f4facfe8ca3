"""Softmax cross-entropy in nats, accurate for losses as small as 1e-12 and below.

Symbols (one row i, class c, true class k, weight w of the row in the total loss)
    Z = sum_c exp(x_c)        p_c = exp(x_c) / Z        o = sum_{c != k} p_c (the other classes' share)
Maps
    forward      loss = -log p_k
                      = log(1 + sum_{c != k} exp(x_c - x_k))  where x_k is the largest logit
    backward     dx_c = w p_c  (c != k)              dx_k = -w o
    R-forward    Rloss = sum_{c != k} p_c (Rx_c - Rx_k)
    R-backward   Rdx_c = w p_c (u_c - mean_u),       mean_u = sum_c p_c u_c,   u_c = Rx_c - Rx_m,  m the likeliest class
Source: maximum likelihood of a softmax; R-operator: Pearlmutter 1994.

The textbook dx_k = p_k - 1 is 0 in float32 once the loss is below 6e-8, and log Z - x_k is 0 with it. Written with o,
nothing cancels. `saturating=True` computes both the textbook way, as PyTorch does in float32: the "softmax collapse" of
the paper's runs. The R-maps are those of the exact function in both cases.
In exact numbers Rdx is the same whichever class u is measured from. From m, u_m - mean_u is a sum over the others. From
another class it is the difference of two numbers that are equal to rounding where m has all the probability.
"""

import math
from math import exp
from typing import NamedTuple

from minigrok.engine.base import Array, Engine


class Tape(NamedTuple):
    """What forward keeps."""

    target: Array  # (B,) int64
    p: Array  # (B, V) probabilities
    o: Array  # (B,) share of the other classes: 1 - p_k without cancellation


def _top(x: Array) -> float:
    """Return the largest logit."""
    top = x[0]
    for c in range(x.size):
        top = max(top, x[c])
    return top  # type: ignore[no-any-return]


def _exp_minus(x: Array, top: float, e: Array) -> float:
    """e = exp(x - top); return the sum of e. The loop that sums knows e alone: see `minigrok.engine.cpu`."""
    for c in range(x.size):
        e[c] = x[c] - top
    total = x.dtype.type(0)
    for c in range(x.size):
        e[c] = exp(e[c])
        total += e[c]
    return total  # type: ignore[no-any-return]


def _forward(lo: int, hi: int, x: Array, target: Array, saturating: bool, p: Array, o: Array, loss: Array) -> None:
    real, V = x.dtype.type, x.shape[1]
    for i in range(lo, hi):
        # Z = sum_c exp(x_c - top), and the part of it that is not the true class k
        k, top = target[i], _top(x[i])
        Z = _exp_minus(x[i], top, p[i])
        e_k = p[i, k]
        p[i, k] = 0
        others = real(0)
        for c in range(V):
            others += p[i, c]
        p[i, k] = e_k
        if saturating:
            loss[i] = math.log(Z) - (x[i, k] - top)
            o[i] = real(1) - e_k / Z
        elif e_k == real(1):
            # k is on top (where a logit is infinite e_k is NaN, and so is the loss): log Z without the 1
            loss[i] = math.log1p(others)
            o[i] = others / Z
        else:
            loss[i] = math.log(Z) + (top - x[i, k])
            o[i] = others / Z
        # p_c = exp(x_c - top) / Z
        for c in range(V):
            p[i, c] /= Z


def _backward(lo: int, hi: int, target: Array, p: Array, o: Array, weight: float, dx: Array) -> None:
    w = p.dtype.type(weight)
    for i in range(lo, hi):
        # forward: loss = log sum_c exp x_c - x_k, so dx_c = w p_c, and -w o for the true class, o the others' share
        for c in range(p.shape[1]):
            dx[i, c] = w * p[i, c]
        dx[i, target[i]] = -w * o[i]


def _r_forward(lo: int, hi: int, target: Array, p: Array, Rx: Array, Rloss: Array) -> None:
    for i in range(lo, hi):
        # forward: loss = log sum_c exp x_c - x_k, so Rloss = sum_c p_c (Rx_c - Rx_k)
        total, Rx_k = p.dtype.type(0), Rx[i, target[i]]
        for c in range(p.shape[1]):
            total += p[i, c] * (Rx[i, c] - Rx_k)
        Rloss[i] = total


def _r_backward(lo: int, hi: int, p: Array, weight: float, Rx: Array, Rdx: Array) -> None:
    w, V = p.dtype.type(weight), p.shape[1]
    for i in range(lo, hi):
        m = 0
        for c in range(V):
            if p[i, c] > p[i, m]:
                m = c
        Rx_m = Rx[i, m]
        # u_c = Rx_c - Rx_m: a common shift of the logits changes nothing; mean_u = sum_c p_c u_c
        mean_u = p.dtype.type(0)
        for c in range(V):
            mean_u += p[i, c] * (Rx[i, c] - Rx_m)
        # backward: dx_c = w p_c, and Rp_c = p_c (u_c - mean_u)
        for c in range(V):
            Rdx[i, c] = w * p[i, c] * (Rx[i, c] - Rx_m - mean_u)


def forward(engine: Engine, x: Array, target: Array, saturating: bool = False) -> tuple[Array, Tape]:
    """Return the loss of each row (B,) in nats and the tape; x (B, V) logits, target (B,) classes."""
    B, V = x.shape
    loss, tape = engine.empty(B), Tape(target, engine.empty(B, V), engine.empty(B))
    engine.rows(_forward, B, x, target, saturating, tape.p, tape.o, loss)
    return loss, tape


def backward(engine: Engine, tape: Tape, weight: float) -> Array:
    """Return dx (B, V) of weight * sum of the row losses."""
    dx = engine.empty(*tape.p.shape)
    engine.rows(_backward, dx.shape[0], *tape, weight, dx)
    return dx


def r_forward(engine: Engine, tape: Tape, Rx: Array) -> Array:
    """Return the directional derivative of each row's loss, (B,)."""
    Rloss = engine.empty(tape.o.size)
    engine.rows(_r_forward, Rloss.size, tape.target, tape.p, Rx, Rloss)
    return Rloss


def r_backward(engine: Engine, tape: Tape, weight: float, Rx: Array) -> Array:
    """Return Rdx (B, V): the Hessian of the loss by the logits, applied to Rx."""
    Rdx = engine.empty(*tape.p.shape)
    engine.rows(_r_backward, Rdx.shape[0], tape.p, weight, Rx, Rdx)
    return Rdx
