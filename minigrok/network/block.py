"""One pre-norm Transformer block, in two halves, each with its four maps.

    attend    y = x + out(attention(query(n), keyvalue(n)))          n = norm(x)
    mlp       y = x + down(gelu(up(n)))                              n = norm(x)

Each backward is its forward read from the bottom; r_forward and r_backward match them line for line. A residual sum
copies the cotangent to both branches. Source: Vaswani et al. 2017 with the norms first, as in
torch.nn.TransformerEncoderLayer(norm_first=True).

`Rows` says which of the block's distinct input rows each pair reads: see layers/select.py.
"""

from typing import Any, NamedTuple

from minigrok.engine.base import Array, Engine
from minigrok.layers import attention, gelu, linear, projection, select
from minigrok.layers.layernorm import Norm
from minigrok.layers.linear import Linear
from minigrok.layers.select import Selection
from minigrok.layers.sums import add, plus
from minigrok.network import norms


class Attend(NamedTuple):
    """Weights of the attention half."""

    norm: Norm | None  # None: the unit sphere
    query: Linear  # (D, D) rows 0 .. D-1 of PyTorch's in_proj
    keyvalue: Linear  # (2D, D) its other rows
    out: Linear  # (D, D)


class Mlp(NamedTuple):
    """Weights of the MLP half."""

    norm: Norm | None  # None: the unit sphere
    up: Linear  # (F, D)
    down: Linear  # (D, F)


class Rows(NamedTuple):
    """How B pairs read the block's R distinct input rows."""

    pairs: int  # B
    heads: int  # H
    keys: Selection | None  # B T rows; None: the input rows themselves
    queries: Selection | None  # B U rows
    eps: float  # of the LayerNorms
    attention: Any = attention  # the layer: layers.attention, or layers.uniform


class AttendTape(NamedTuple):
    """One tape a layer (forward), or its cotangents (backward), or its R-tape (r_forward)."""

    norm: Any
    query: Any
    keyvalue: Any
    attention: Any
    out: Any


class MlpTape(NamedTuple):
    """One tape a layer (forward), or its cotangents (backward), or its R-tape (r_forward)."""

    norm: Any
    up: Any
    gelu: Any
    down: Any


def _split_heads(rows: Rows, q: Array, kv: Array) -> tuple[Array, Array]:
    """q (B U, D) -> (B, U, H, K) and kv (B T, 2D) -> (B, T, 2, H, K), without copies."""
    B, H, D = rows.pairs, rows.heads, q.shape[1]
    return q.reshape(B, -1, H, D // H), kv.reshape(B, -1, 2, H, D // H)


def _join_heads(x: Array, channels: int) -> Array:
    """(B, ..., H, K) -> (rows, channels), without a copy."""
    return x.reshape(-1, channels)


def _add(engine: Engine, x: Array, y: Array) -> Array:
    """Return y after adding x to it: for a y that no tape holds."""
    engine.rows(add, x.shape[0], x, y)
    return y


def _sum(engine: Engine, x: Array, y: Array) -> Array:
    """Return x + y in memory of its own."""
    z = engine.empty(*x.shape)
    engine.rows(plus, x.shape[0], x, y, z)
    return z


def attend_forward(engine: Engine, w: Attend, rows: Rows, x: Array) -> tuple[Array, AttendTape]:
    """Return y (B U, D) and the tape; x (R, D) distinct rows."""
    n, norm = norms.forward(engine, w.norm, x, rows.eps)
    q, query = projection.forward(engine, w.query, rows.queries, n)
    kv, keyvalue = projection.forward(engine, w.keyvalue, rows.keys, n)
    a, att = rows.attention.forward(engine, *_split_heads(rows, q, kv))
    o, out = linear.forward(engine, w.out, _join_heads(a, x.shape[1]))
    skip = select.forward(engine, rows.queries, x)
    return _add(engine, skip, o), AttendTape(norm, query, keyvalue, att, out)


def attend_backward(
    engine: Engine, w: Attend, rows: Rows, tape: AttendTape, dy: Array, dw: Attend | None
) -> tuple[Array, AttendTape]:
    """Return dx (R, D) and the cotangents. Fill `dw` unless it is None."""
    D = dy.shape[1]
    # forward: y = skip + o, skip = select(x), so do = dy; dskip is what x gets through skip
    dskip = select.backward(engine, rows.queries, dy)
    # forward: o = out(a)
    da, out = linear.backward(engine, w.out, tape.out, dy, dw and dw.out)
    # forward: a = attention(q, kv)
    (dq, dkv), att = rows.attention.backward(engine, tape.attention, da.reshape(tape.attention.q.shape))
    dq, dkv = _join_heads(dq, D), _join_heads(dkv, 2 * D)
    # forward: kv = keyvalue(n) and q = query(n), so dn = dn_q + dn_kv
    dn_kv, keyvalue = projection.backward(engine, w.keyvalue, rows.keys, tape.keyvalue, dkv, dw and dw.keyvalue)
    dn_q, query = projection.backward(engine, w.query, rows.queries, tape.query, dq, dw and dw.query)
    dn = _add(engine, dn_q, dn_kv)
    # forward: n = norm(x); x feeds norm and skip, so dx is the sum of both
    dx, norm = norms.backward(engine, w.norm, tape.norm, dn, dw and dw.norm)
    return _sum(engine, dskip, dx), AttendTape(norm, query, keyvalue, att, out)


def attend_r_forward(
    engine: Engine, w: Attend, rows: Rows, tape: AttendTape, Rw: Attend, Rx: Array
) -> tuple[Array, AttendTape]:
    """Return Ry (B U, D) and the R-tape."""
    # forward: n = norm(x)
    Rn, norm = norms.r_forward(engine, w.norm, tape.norm, Rw.norm, Rx)
    # forward: q = query(n), kv = keyvalue(n)
    Rq, query = projection.r_forward(engine, w.query, rows.queries, tape.query, Rw.query, Rn)
    Rkv, keyvalue = projection.r_forward(engine, w.keyvalue, rows.keys, tape.keyvalue, Rw.keyvalue, Rn)
    # forward: a = attention(q, kv), o = out(a)
    Ra, att = rows.attention.r_forward(engine, tape.attention, *_split_heads(rows, Rq, Rkv))
    Ro, out = linear.r_forward(engine, w.out, tape.out, Rw.out, _join_heads(Ra, Rx.shape[1]))
    # forward: y = skip + o, skip = select(x), so Ry = Rskip + Ro
    Rskip = select.r_forward(engine, rows.queries, Rx)
    return _add(engine, Rskip, Ro), AttendTape(norm, query, keyvalue, att, out)


def attend_r_backward(
    engine: Engine,
    w: Attend,
    rows: Rows,
    tape: AttendTape,
    dtape: AttendTape,
    Rw: Attend,
    rtape: AttendTape,
    Rdy: Array,
    Rdw: Attend,
) -> Array:
    """Return Rdx (R, D) and fill `Rdw`."""
    D = Rdy.shape[1]
    # backward: do = dy, and dskip is dy through the selection, so Rdo = Rdy, and Rdskip is Rdy through the same
    Rdskip = select.r_backward(engine, rows.queries, Rdy)
    # backward: da = do W_out, so Rda has a term of Rdo and one of RW_out; likewise in each layer below
    Rda = linear.r_backward(engine, w.out, tape.out, dtape.out, Rw.out, rtape.out, Rdy, Rdw.out)
    Rda = Rda.reshape(tape.attention.q.shape)
    Rdq, Rdkv = rows.attention.r_backward(engine, tape.attention, dtape.attention, rtape.attention, Rda)
    Rdq, Rdkv = _join_heads(Rdq, D), _join_heads(Rdkv, 2 * D)
    # backward: dn = dn_q + dn_kv, so Rdn = Rdn_q + Rdn_kv
    Rdn_kv = projection.r_backward(
        engine, w.keyvalue, rows.keys, tape.keyvalue, dtape.keyvalue, Rw.keyvalue, rtape.keyvalue, Rdkv, Rdw.keyvalue
    )
    Rdn_q = projection.r_backward(
        engine, w.query, rows.queries, tape.query, dtape.query, Rw.query, rtape.query, Rdq, Rdw.query
    )
    Rdn = _add(engine, Rdn_q, Rdn_kv)
    # backward: dx is the sum of dskip and norm's dx, so Rdx is the sum of Rdskip and norm's Rdx
    Rdx = norms.r_backward(engine, w.norm, tape.norm, dtape.norm, Rw.norm, rtape.norm, Rdn, Rdw.norm)
    return _add(engine, Rdskip, Rdx)


def mlp_forward(engine: Engine, w: Mlp, eps: float, x: Array) -> tuple[Array, MlpTape]:
    """Return y (N, D) and the tape; x (N, D)."""
    n, norm = norms.forward(engine, w.norm, x, eps)
    h, up = linear.forward(engine, w.up, n)
    g, act = gelu.forward(engine, h)
    o, down = linear.forward(engine, w.down, g)
    return _add(engine, x, o), MlpTape(norm, up, act, down)


def mlp_backward(engine: Engine, w: Mlp, tape: MlpTape, dy: Array, dw: Mlp | None) -> tuple[Array, MlpTape]:
    """Return dx (N, D) and the cotangents. Fill `dw` unless it is None."""
    # forward: y = x + o, so do = dy; o = down(g)
    dg, down = linear.backward(engine, w.down, tape.down, dy, dw and dw.down)
    # forward: g = gelu(h), h = up(n)
    dh, act = gelu.backward(engine, tape.gelu, dg)
    dn, up = linear.backward(engine, w.up, tape.up, dh, dw and dw.up)
    # forward: n = norm(x); x feeds norm and y = x + o, so dx is the sum of both
    dx, norm = norms.backward(engine, w.norm, tape.norm, dn, dw and dw.norm)
    return _sum(engine, dy, dx), MlpTape(norm, up, act, down)


def mlp_r_forward(engine: Engine, w: Mlp, tape: MlpTape, Rw: Mlp, Rx: Array) -> tuple[Array, MlpTape]:
    """Return Ry (N, D) and the R-tape."""
    # forward: n = norm(x), h = up(n), g = gelu(h), o = down(g)
    Rn, norm = norms.r_forward(engine, w.norm, tape.norm, Rw.norm, Rx)
    Rh, up = linear.r_forward(engine, w.up, tape.up, Rw.up, Rn)
    Rg, act = gelu.r_forward(engine, tape.gelu, Rh)
    Ro, down = linear.r_forward(engine, w.down, tape.down, Rw.down, Rg)
    # forward: y = x + o, so Ry = Rx + Ro
    return _add(engine, Rx, Ro), MlpTape(norm, up, act, down)


def mlp_r_backward(
    engine: Engine, w: Mlp, tape: MlpTape, dtape: MlpTape, Rw: Mlp, rtape: MlpTape, Rdy: Array, Rdw: Mlp
) -> Array:
    """Return Rdx (N, D) and fill `Rdw`."""
    # backward: do = dy, dg = do W_down, so Rdg has a term of Rdy and one of RW_down; likewise in each layer below
    Rdg = linear.r_backward(engine, w.down, tape.down, dtape.down, Rw.down, rtape.down, Rdy, Rdw.down)
    Rdh = gelu.r_backward(engine, tape.gelu, dtape.gelu, rtape.gelu, Rdg)
    Rdn = linear.r_backward(engine, w.up, tape.up, dtape.up, Rw.up, rtape.up, Rdh, Rdw.up)
    Rdx = norms.r_backward(engine, w.norm, tape.norm, dtape.norm, Rw.norm, rtape.norm, Rdn, Rdw.norm)
    # backward: dx is the sum of dy and norm's dx, so Rdx is the sum of Rdy and norm's Rdx
    return _add(engine, Rdy, Rdx)
