"""Projection of selected rows: a linear map and a row selection, in the order that costs less.

Symbols
    x (R, I) distinct rows, W (O, I) weight and b (O,) bias as in linear.py, y (N, O) output rows
    S (N, R) the selection: (S x)_i = x_index(i) picks, (S^T y)_r = sum_{i: index(i) = r} y_i adds up; see select.py
Maps (left: select before the linear map, right: after it)
    forward      y   = (S x) W^T + b                            = S (x W^T + b)
    backward     dx  = S^T (dy W)                               = (S^T dy) W
                 dW  = dy^T (S x)                               = (S^T dy)^T x
                 db  = sum_i dy_i                               = sum_r (S^T dy)_r
    R-forward    Ry  = (S Rx) W^T + (S x) RW^T + Rb             = S (Rx W^T + x RW^T + Rb)
    R-backward   Rdx = S^T (Rdy W + dy RW)                      = (S^T Rdy) W + (S^T dy) RW
                 RdW = Rdy^T (S x) + dy^T (S Rx)                = (S^T Rdy)^T x + (S^T dy)^T Rx
                 Rdb = sum_i Rdy_i                              = sum_r (S^T Rdy)_r
Both sides are the same function, because a linear map acts on each row by itself. S has no weights, so RS = 0.
"""

from minigrok.engine.base import Array, Engine
from minigrok.layers import linear, select
from minigrok.layers.linear import Linear
from minigrok.layers.select import Selection


def _orders(rows: Selection | None) -> tuple[Selection | None, Selection | None]:
    """Return (selection before the linear map, selection after it); one of them is None."""
    return (rows, None) if rows is not None and rows.shrinks else (None, rows)


def forward(engine: Engine, w: Linear, rows: Selection | None, x: Array) -> tuple[Array, Array]:
    """Return y (N, O) and the tape of the linear map."""
    before, after = _orders(rows)
    # y = (S x) W^T + b = S (x W^T + b)
    y, tape = linear.forward(engine, w, select.forward(engine, before, x))
    return select.forward(engine, after, y), tape


def backward(
    engine: Engine, w: Linear, rows: Selection | None, tape: Array, dy: Array, dw: Linear | None
) -> tuple[Array, Array]:
    """Return dx (R, I) and the cotangents of the linear map. Fill `dw` unless it is None."""
    before, after = _orders(rows)
    # forward: y = (S x) W^T + b = S (x W^T + b), so dx = S^T (dy W) = (S^T dy) W
    dx, dtape = linear.backward(engine, w, tape, select.backward(engine, after, dy), dw)
    return select.backward(engine, before, dx), dtape


def r_forward(
    engine: Engine, w: Linear, rows: Selection | None, tape: Array, Rw: Linear, Rx: Array
) -> tuple[Array, Array]:
    """Return Ry (N, O) and the R-tape of the linear map."""
    before, after = _orders(rows)
    # forward: y = S (x W^T + b), so Ry = S (Rx W^T + x RW^T + Rb)
    Ry, rtape = linear.r_forward(engine, w, tape, Rw, select.forward(engine, before, Rx))
    return select.forward(engine, after, Ry), rtape


def r_backward(
    engine: Engine,
    w: Linear,
    rows: Selection | None,
    tape: Array,
    dtape: Array,
    Rw: Linear,
    rtape: Array,
    Rdy: Array,
    Rdw: Linear,
) -> Array:
    """Return Rdx (R, I) and fill `Rdw`."""
    before, after = _orders(rows)
    # backward: dx = S^T (dy W), so Rdx = S^T (Rdy W + dy RW)
    Rdx = linear.r_backward(engine, w, tape, dtape, Rw, rtape, select.backward(engine, after, Rdy), Rdw)
    return select.backward(engine, before, Rdx)
