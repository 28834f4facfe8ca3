"""Uniform attention: every token weighs 1 / T, whatever queries and keys are.

Symbols (one pair b and one head h; t = query 0 .. U-1, s = token 0 .. T-1), as in attention.py with all scores 0
Maps
    forward      y_t   = 1/T sum_s v_s
    backward     dq_t  = 0        dk_s  = 0        dv_s  = 1/T sum_t dy_t
    R-forward    Ry_t  = 1/T sum_s Rv_s
    R-backward   Rdq_t = 0        Rdk_s = 0        Rdv_s = 1/T sum_t Rdy_t
The map is linear in v and does not see q and k. So its R-maps are its forward and backward, applied to Rkv and Rdy, and
the gradient of the query and key rows is 0 to the last bit: AdamW leaves them to the decay alone.
Source: arXiv:2603.05228 (uniform attention ablation).

A row is a pair, as in attention.py, and so are the arrays: q, y (B, U, H, K); kv (B, T, 2, H, K).
"""

from typing import NamedTuple

from minigrok.engine.base import Array, Engine
from minigrok.layers.attention import KEY, VALUE


class Tape(NamedTuple):
    """What forward keeps: the maps need the shapes alone."""

    q: Array  # (B, U, H, K)
    kv: Array  # (B, T, 2, H, K)


def _forward(lo: int, hi: int, kv: Array, y: Array) -> None:
    real = kv.dtype.type
    weight = real(1) / real(kv.shape[1])
    for b in range(lo, hi):
        for t in range(y.shape[1]):
            for h in range(y.shape[2]):
                # y_t = 1/T sum_s v_s
                for c in range(y.shape[3]):
                    y[b, t, h, c] = 0
                for s in range(kv.shape[1]):
                    for c in range(y.shape[3]):
                        y[b, t, h, c] += weight * kv[b, s, VALUE, h, c]


def _backward(lo: int, hi: int, dy: Array, dq: Array, dkv: Array) -> None:
    real = dy.dtype.type
    weight = real(1) / real(dkv.shape[1])
    for b in range(lo, hi):
        # forward: y does not depend on q and k
        for t in range(dq.shape[1]):
            for h in range(dq.shape[2]):
                for c in range(dq.shape[3]):
                    dq[b, t, h, c] = 0
        # forward: y_t = 1/T sum_s v_s, so dv_s = 1/T sum_t dy_t
        for s in range(dkv.shape[1]):
            for h in range(dkv.shape[3]):
                for c in range(dkv.shape[4]):
                    dkv[b, s, KEY, h, c] = 0
                    dkv[b, s, VALUE, h, c] = 0
                for t in range(dy.shape[1]):
                    for c in range(dkv.shape[4]):
                        dkv[b, s, VALUE, h, c] += weight * dy[b, t, h, c]


def _mean(engine: Engine, q: Array, kv: Array) -> Array:
    y = engine.empty(*q.shape)
    engine.rows(_forward, q.shape[0], kv, y)
    return y


def _spread(engine: Engine, tape: Tape, dy: Array) -> tuple[Array, Array]:
    dq, dkv = engine.empty(*tape.q.shape), engine.empty(*tape.kv.shape)
    engine.rows(_backward, dy.shape[0], dy, dq, dkv)
    return dq, dkv


def forward(engine: Engine, q: Array, kv: Array) -> tuple[Array, Tape]:
    """Return y (B, U, H, K) and the tape."""
    return _mean(engine, q, kv), Tape(q, kv)


def backward(engine: Engine, tape: Tape, dy: Array) -> tuple[tuple[Array, Array], None]:
    """Return (dq, dkv), shaped like q and kv; `r_backward` needs nothing."""
    return _spread(engine, tape, dy), None


def r_forward(engine: Engine, tape: Tape, Rq: Array, Rkv: Array) -> tuple[Array, None]:
    """Return Ry (B, U, H, K); there is no R-tape."""
    return _mean(engine, Rq, Rkv), None


def r_backward(engine: Engine, tape: Tape, dtape: None, rtape: None, Rdy: Array) -> tuple[Array, Array]:
    """Return Rdq and Rdkv, shaped like q and kv."""
    return _spread(engine, tape, Rdy)
