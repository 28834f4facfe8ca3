"""The norm of the rows that a sublayer reads: LayerNorm where there are weights for it, else the unit sphere."""

from typing import Any

from minigrok.engine.base import Array, Engine
from minigrok.layers import layernorm, sphere
from minigrok.layers.layernorm import Norm


def forward(engine: Engine, w: Norm | None, x: Array, eps: float) -> tuple[Array, Any]:
    """Return y (N, D) and the tape."""
    return sphere.forward(engine, x) if w is None else layernorm.forward(engine, w, x, eps)


def backward(engine: Engine, w: Norm | None, tape: Any, dy: Array, dw: Norm | None) -> tuple[Array, Any]:
    """Return dx (N, D) and the cotangents. Fill `dw` unless it is None."""
    return sphere.backward(engine, tape, dy) if w is None else layernorm.backward(engine, w, tape, dy, dw)


def r_forward(engine: Engine, w: Norm | None, tape: Any, Rw: Norm | None, Rx: Array) -> tuple[Array, Any]:
    """Return Ry (N, D) and the R-tape."""
    if w is None or Rw is None:
        return sphere.r_forward(engine, tape, Rx)
    return layernorm.r_forward(engine, w, tape, Rw, Rx)


def r_backward(
    engine: Engine, w: Norm | None, tape: Any, dtape: Any, Rw: Norm | None, rtape: Any, Rdy: Array, Rdw: Norm | None
) -> Array:
    """Return Rdx (N, D) and fill `Rdw`."""
    if w is None or Rw is None or Rdw is None:
        return sphere.r_backward(engine, tape, dtape, rtape, Rdy)
    return layernorm.r_backward(engine, w, tape, dtape, Rw, rtape, Rdy, Rdw)
