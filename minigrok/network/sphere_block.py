"""The two halves of a block whose rows lie on the unit sphere before and after them: block.py between two spheres.

    attend    y = sphere(x + out(attention(query(x), keyvalue(x))))          x on the sphere
    mlp       y = sphere(x + down(gelu(up(x))))                              x on the sphere
The first half puts its input there: the rows of the embedding are not. After it all rows are.
Source: arXiv:2603.05228 (spherical topology).
"""

from typing import Any, NamedTuple

from minigrok.engine.base import Array, Engine
from minigrok.layers import sphere
from minigrok.network import block
from minigrok.network.block import Attend, Mlp, Rows


class AttendTape(NamedTuple):
    """One tape a layer (forward), or its cotangents (backward), or its R-tape (r_forward)."""

    before: Any
    half: Any
    after: Any


class MlpTape(NamedTuple):
    """One tape a layer (forward), or its cotangents (backward), or its R-tape (r_forward)."""

    half: Any
    after: Any


def attend_forward(engine: Engine, w: Attend, rows: Rows, x: Array) -> tuple[Array, AttendTape]:
    """Return y (B U, D) and the tape; x (R, D) distinct rows."""
    n, before = sphere.forward(engine, x)
    a, half = block.attend_forward(engine, w, rows, n)
    y, after = sphere.forward(engine, a)
    return y, AttendTape(before, half, after)


def attend_backward(
    engine: Engine, w: Attend, rows: Rows, tape: AttendTape, dy: Array, dw: Attend | None
) -> tuple[Array, AttendTape]:
    """Return dx (R, D) and the cotangents. Fill `dw` unless it is None."""
    da, after = sphere.backward(engine, tape.after, dy)
    dn, half = block.attend_backward(engine, w, rows, tape.half, da, dw)
    dx, before = sphere.backward(engine, tape.before, dn)
    return dx, AttendTape(before, half, after)


def attend_r_forward(
    engine: Engine, w: Attend, rows: Rows, tape: AttendTape, Rw: Attend, Rx: Array
) -> tuple[Array, AttendTape]:
    """Return Ry (B U, D) and the R-tape."""
    Rn, before = sphere.r_forward(engine, tape.before, Rx)
    Ra, half = block.attend_r_forward(engine, w, rows, tape.half, Rw, Rn)
    Ry, after = sphere.r_forward(engine, tape.after, Ra)
    return Ry, AttendTape(before, half, after)


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
    Rda = sphere.r_backward(engine, tape.after, dtape.after, rtape.after, Rdy)
    Rdn = block.attend_r_backward(engine, w, rows, tape.half, dtape.half, Rw, rtape.half, Rda, Rdw)
    return sphere.r_backward(engine, tape.before, dtape.before, rtape.before, Rdn)


def mlp_forward(engine: Engine, w: Mlp, eps: float, x: Array) -> tuple[Array, MlpTape]:
    """Return y (N, D) and the tape; x (N, D)."""
    a, half = block.mlp_forward(engine, w, eps, x)
    y, after = sphere.forward(engine, a)
    return y, MlpTape(half, after)


def mlp_backward(engine: Engine, w: Mlp, tape: MlpTape, dy: Array, dw: Mlp | None) -> tuple[Array, MlpTape]:
    """Return dx (N, D) and the cotangents. Fill `dw` unless it is None."""
    da, after = sphere.backward(engine, tape.after, dy)
    dx, half = block.mlp_backward(engine, w, tape.half, da, dw)
    return dx, MlpTape(half, after)


def mlp_r_forward(engine: Engine, w: Mlp, tape: MlpTape, Rw: Mlp, Rx: Array) -> tuple[Array, MlpTape]:
    """Return Ry (N, D) and the R-tape."""
    Ra, half = block.mlp_r_forward(engine, w, tape.half, Rw, Rx)
    Ry, after = sphere.r_forward(engine, tape.after, Ra)
    return Ry, MlpTape(half, after)


def mlp_r_backward(
    engine: Engine, w: Mlp, tape: MlpTape, dtape: MlpTape, Rw: Mlp, rtape: MlpTape, Rdy: Array, Rdw: Mlp
) -> Array:
    """Return Rdx (N, D) and fill `Rdw`."""
    Rda = sphere.r_backward(engine, tape.after, dtape.after, rtape.after, Rdy)
    return block.mlp_r_backward(engine, w, tape.half, dtape.half, Rw, rtape.half, Rda, Rdw)
