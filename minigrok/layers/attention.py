"""Scaled dot-product attention: queries of a pair look at the pair's T tokens, no mask.

Symbols (one pair b and one head h; t = query 0 .. U-1, s = token 0 .. T-1, all vectors have K channels)
    q_t query, k_s key, v_s value, scale = K^(-1/2), every sum and softmax over s unless named
Maps
    forward      p_ts = softmax_s(scale q_t . k_s)               y_t = sum p_ts v_s
    backward     e_ts = p_ts (dy_t . v_s - m_t),                 m_t = sum p_ts (dy_t . v_s)
                 dq_t = scale sum e_ts k_s      dk_s = scale sum_t e_ts q_t      dv_s = sum_t p_ts dy_t
    R-forward    Rp_ts = p_ts (c_ts - sum p_ts c_ts),            c_ts = scale (Rq_t . k_s + q_t . Rk_s)
                 Ry_t  = sum (Rp_ts v_s + p_ts Rv_s)
    R-backward   Re_ts = Rp_ts (g_ts - m_t) + p_ts (Rg_ts - Rm_t)
                 g_ts  = dy_t . v_s                              Rg_ts = Rdy_t . v_s + dy_t . Rv_s
                 Rm_t  = sum (Rp_ts g_ts + p_ts Rg_ts)
                 Rdq_t = scale sum (Re_ts k_s + e_ts Rk_s)       Rdk_s = scale sum_t (Re_ts q_t + e_ts Rq_t)
                 Rdv_s = sum_t (Rp_ts dy_t + p_ts Rdy_t)
e is the derivative of the loss by the scores before the softmax.
Source: Vaswani et al. 2017, eq. 1; R-operator: Pearlmutter 1994.

A row is a pair: keys and values belong to one pair only, so each row owns all that it writes.
Arrays: q, y (B, U, H, K); kv (B, T, 2, H, K) with [:, :, KEY] keys and [:, :, VALUE] values; p, e (B, H, U, T).
"""

import math
from math import exp
from typing import NamedTuple

from minigrok.engine.base import Array, Engine

KEY, VALUE = 0, 1  # of the third axis of kv


class Tape(NamedTuple):
    """What forward keeps."""

    q: Array  # (B, U, H, K)
    kv: Array  # (B, T, 2, H, K)
    p: Array  # (B, H, U, T)


class Cotangents(NamedTuple):
    """What backward keeps for r_backward."""

    dy: Array  # (B, U, H, K)
    g: Array  # (B, H, U, T) derivative by p
    e: Array  # (B, H, U, T) derivative by the scores


class RTape(NamedTuple):
    """What r_forward keeps for r_backward."""

    Rq: Array  # (B, U, H, K)
    Rkv: Array  # (B, T, 2, H, K)
    Rp: Array  # (B, H, U, T)


def _scale(tape: Tape) -> float:
    """Return K^(-1/2); the maps round it to their dtype once, so that float32 has the nearest number to it."""
    return 1 / math.sqrt(tape.q.shape[3])


def _dot(x: Array, y: Array) -> float:
    """Return x . y = sum_c x_c y_c."""
    total = x.dtype.type(0)
    for c in range(x.size):
        total += x[c] * y[c]
    return total  # type: ignore[no-any-return]


def _set(a: float, x: Array, y: Array) -> None:
    """y = a x: the first term of a sum."""
    for c in range(y.size):
        y[c] = a * x[c]


def _add(a: float, x: Array, y: Array) -> None:
    """y += a x: a further term."""
    for c in range(y.size):
        y[c] += a * x[c]


def _term(number: int, a: float, x: Array, y: Array) -> None:
    """Term `number` = 0, 1, ... of the sum y of vectors a x."""
    if number == 0:
        _set(a, x, y)
    else:
        _add(a, x, y)


def _softmax(p: Array) -> None:
    """Replace the scores p (T,) by their softmax: exp(p_s - top) / sum_s exp(p_s - top)."""
    real = p.dtype.type
    # top = the largest score, so that no exp overflows
    top = p[0]
    for s in range(1, p.size):
        top = max(top, p[s])
    # the numerators, and their total
    total = real(0)
    for s in range(p.size):
        p[s] = exp(p[s] - top)
        total += p[s]
    # each numerator's share of the total
    for s in range(p.size):
        p[s] /= total


def _softmax_jacobian(p: Array, g: Array, e: Array) -> None:
    """e = p (g - m), m = sum p g: the symmetric Jacobian of the softmax, applied to g (T,)."""
    m = _dot(p, g)
    for s in range(p.size):
        e[s] = p[s] * (g[s] - m)


def _R_softmax_jacobian(p: Array, g: Array, Rp: Array, Rg: Array) -> None:
    """Replace Rg by Re = Rp (g - m) + p (Rg - Rm) with m = sum p g, Rm = sum (Rp g + p Rg)."""
    m, Rm = _dot(p, g), _dot(Rp, g) + _dot(p, Rg)
    for s in range(p.size):
        Rg[s] = Rp[s] * (g[s] - m) + p[s] * (Rg[s] - Rm)


def _forward(lo: int, hi: int, factor: float, q: Array, kv: Array, p: Array, y: Array) -> None:
    scale = q.dtype.type(factor)
    for b in range(lo, hi):
        for h in range(q.shape[2]):
            for t in range(q.shape[1]):
                # p_ts = softmax_s(scale q_t . k_s)
                for s in range(kv.shape[1]):
                    p[b, h, t, s] = scale * _dot(q[b, t, h], kv[b, s, KEY, h])
                _softmax(p[b, h, t])
                # y_t = sum_s p_ts v_s
                for s in range(kv.shape[1]):
                    _term(s, p[b, h, t, s], kv[b, s, VALUE, h], y[b, t, h])


def _backward(
    lo: int, hi: int, factor: float, q: Array, kv: Array, p: Array, dy: Array, g: Array, e: Array, dq: Array, dkv: Array
) -> None:
    scale = q.dtype.type(factor)
    for b in range(lo, hi):
        for h in range(q.shape[2]):
            for t in range(q.shape[1]):
                # forward: y_t = sum_s p_ts v_s, so the derivative by p_ts is g_ts = dy_t . v_s
                for s in range(kv.shape[1]):
                    g[b, h, t, s] = _dot(dy[b, t, h], kv[b, s, VALUE, h])
                # forward: p_ts = softmax_s(score_ts), so the derivative by the score is e_ts = p_ts (g_ts - m_t)
                _softmax_jacobian(p[b, h, t], g[b, h, t], e[b, h, t])
                # forward: score_ts = scale q_t . k_s, so dq_t sums scale e_ts k_s, and dk_s the same of q_t;
                # y_t = sum_s p_ts v_s, so dv_s sums p_ts dy_t
                for s in range(kv.shape[1]):
                    _term(s, scale * e[b, h, t, s], kv[b, s, KEY, h], dq[b, t, h])
                    _term(t, scale * e[b, h, t, s], q[b, t, h], dkv[b, s, KEY, h])
                    _term(t, p[b, h, t, s], dy[b, t, h], dkv[b, s, VALUE, h])


def _r_forward(
    lo: int, hi: int, factor: float, q: Array, kv: Array, p: Array, Rq: Array, Rkv: Array, Rp: Array, Ry: Array
) -> None:
    scale = q.dtype.type(factor)
    for b in range(lo, hi):
        for h in range(q.shape[2]):
            for t in range(q.shape[1]):
                # forward: score_ts = scale q_t . k_s, so R of it is c_ts = scale (Rq_t . k_s + q_t . Rk_s)
                for s in range(kv.shape[1]):
                    Rp[b, h, t, s] = scale * (_dot(Rq[b, t, h], kv[b, s, KEY, h]) + _dot(q[b, t, h], Rkv[b, s, KEY, h]))
                # forward: p_ts = softmax_s(score_ts), so Rp_ts = p_ts (c_ts - sum_s p_ts c_ts)
                _softmax_jacobian(p[b, h, t], Rp[b, h, t], Rp[b, h, t])
                # forward: y_t = sum_s p_ts v_s, so Ry_t = sum_s (Rp_ts v_s + p_ts Rv_s)
                for s in range(kv.shape[1]):
                    _term(s, Rp[b, h, t, s], kv[b, s, VALUE, h], Ry[b, t, h])
                    _add(p[b, h, t, s], Rkv[b, s, VALUE, h], Ry[b, t, h])


def _r_backward(
    lo: int,
    hi: int,
    factor: float,
    q: Array,
    kv: Array,
    p: Array,
    dy: Array,
    g: Array,
    e: Array,
    Rq: Array,
    Rkv: Array,
    Rp: Array,
    Rdy: Array,
    Re: Array,
    Rdq: Array,
    Rdkv: Array,
) -> None:
    scale = q.dtype.type(factor)
    for b in range(lo, hi):
        for h in range(q.shape[2]):
            for t in range(q.shape[1]):
                # backward: g_ts = dy_t . v_s, so Rg_ts = Rdy_t . v_s + dy_t . Rv_s, kept where Re will be
                for s in range(kv.shape[1]):
                    Re[b, h, t, s] = _dot(Rdy[b, t, h], kv[b, s, VALUE, h]) + _dot(dy[b, t, h], Rkv[b, s, VALUE, h])
                # backward: e_ts = p_ts (g_ts - m_t), so Re_ts = Rp_ts (g_ts - m_t) + p_ts (Rg_ts - Rm_t)
                _R_softmax_jacobian(p[b, h, t], g[b, h, t], Rp[b, h, t], Re[b, h, t])
                # backward: dq_t sums scale e_ts k_s, so Rdq_t sums scale (Re_ts k_s + e_ts Rk_s); likewise dk_s, dv_s
                for s in range(kv.shape[1]):
                    _term(s, scale * Re[b, h, t, s], kv[b, s, KEY, h], Rdq[b, t, h])
                    _add(scale * e[b, h, t, s], Rkv[b, s, KEY, h], Rdq[b, t, h])
                    _term(t, scale * Re[b, h, t, s], q[b, t, h], Rdkv[b, s, KEY, h])
                    _add(scale * e[b, h, t, s], Rq[b, t, h], Rdkv[b, s, KEY, h])
                    _term(t, Rp[b, h, t, s], dy[b, t, h], Rdkv[b, s, VALUE, h])
                    _add(p[b, h, t, s], Rdy[b, t, h], Rdkv[b, s, VALUE, h])


def forward(engine: Engine, q: Array, kv: Array) -> tuple[Array, Tape]:
    """Return y (B, U, H, K) and the tape."""
    B, U, H, _ = q.shape
    tape, y = Tape(q, kv, engine.empty(B, H, U, kv.shape[1])), engine.empty(*q.shape)
    engine.rows(_forward, B, _scale(tape), *tape, y)
    return y, tape


def backward(engine: Engine, tape: Tape, dy: Array) -> tuple[tuple[Array, Array], Cotangents]:
    """Return (dq, dkv), shaped like q and kv, and what `r_backward` needs."""
    dtape = Cotangents(dy, engine.empty(*tape.p.shape), engine.empty(*tape.p.shape))
    dq, dkv = engine.empty(*tape.q.shape), engine.empty(*tape.kv.shape)
    engine.rows(_backward, dy.shape[0], _scale(tape), *tape, *dtape, dq, dkv)
    return (dq, dkv), dtape


def r_forward(engine: Engine, tape: Tape, Rq: Array, Rkv: Array) -> tuple[Array, RTape]:
    """Return Ry (B, U, H, K) and the R-tape."""
    rtape, Ry = RTape(Rq, Rkv, engine.empty(*tape.p.shape)), engine.empty(*tape.q.shape)
    engine.rows(_r_forward, Rq.shape[0], _scale(tape), *tape, *rtape, Ry)
    return Ry, rtape


def r_backward(engine: Engine, tape: Tape, dtape: Cotangents, rtape: RTape, Rdy: Array) -> tuple[Array, Array]:
    """Return Rdq and Rdkv, shaped like q and kv."""
    Re = engine.empty(*tape.p.shape)
    Rdq, Rdkv = engine.empty(*tape.q.shape), engine.empty(*tape.kv.shape)
    engine.rows(_r_backward, Rdy.shape[0], _scale(tape), *tape, *dtape, *rtape, Rdy, Re, Rdq, Rdkv)
    return Rdq, Rdkv
