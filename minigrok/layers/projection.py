"""Projection of selected rows: a linear map and a row selection, in the order that costs less.

Both orders are the same function, because a linear map acts on each row by itself:
    select(x) W^T + b  =  select(x W^T + b)
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
    y, tape = linear.forward(engine, w, select.forward(engine, before, x))
    return select.forward(engine, after, y), tape


def backward(
    engine: Engine, w: Linear, rows: Selection | None, tape: Array, dy: Array, dw: Linear | None
) -> tuple[Array, Array]:
    """Return dx (R, I) and the cotangents of the linear map. Fill `dw` unless it is None."""
    before, after = _orders(rows)
    dx, dtape = linear.backward(engine, w, tape, select.backward(engine, after, dy), dw)
    return select.backward(engine, before, dx), dtape


def r_forward(
    engine: Engine, w: Linear, rows: Selection | None, tape: Array, Rw: Linear, Rx: Array
) -> tuple[Array, Array]:
    """Return Ry (N, O) and the R-tape of the linear map."""
    before, after = _orders(rows)
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
    Rdx = linear.r_backward(engine, w, tape, dtape, Rw, rtape, select.backward(engine, after, Rdy), Rdw)
    return select.backward(engine, before, Rdx)
