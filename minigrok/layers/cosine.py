"""Cosine logits: ten times the cosine between a row of unit length and each class's vector.

Symbols
    z (B, D) rows of length 1, W (V, D) weight, n (V, D) its rows on the unit sphere: sphere.py
Maps
    forward      y   = SCALE z n^T
    backward     dz  = SCALE dy n                               dn  = SCALE dy^T z
    R-forward    Ry  = SCALE (Rz n^T + z Rn^T)
    R-backward   Rdz = SCALE (Rdy n + dy Rn)                    Rdn = SCALE (Rdy^T z + dy^T Rz)
dW, Rn and RdW are the maps of sphere.py.
Source: arXiv:2603.05228 (normalised unembedding with a fixed temperature).
"""

from typing import NamedTuple

from minigrok.engine.base import Array, Engine
from minigrok.layers import sphere
from minigrok.layers.sums import add

SCALE = 10.0  # arXiv:2603.05228


class Cosine(NamedTuple):
    """Weight of the head (or its gradient, or its R-direction): no bias, and its rows' lengths do not count."""

    weight: Array  # (V, D)


class Tape(NamedTuple):
    """What forward keeps."""

    z: Array  # (B, D)
    sphere: sphere.Tape  # of the weight


class Cotangents(NamedTuple):
    """What backward keeps for r_backward."""

    g: Array  # (B, V) SCALE dy
    sphere: sphere.Cotangents


class RTape(NamedTuple):
    """What r_forward keeps for r_backward."""

    Rz: Array  # (B, D)
    sphere: sphere.RTape


def _times(lo: int, hi: int, factor: float, x: Array, y: Array) -> None:
    """y = factor x."""
    for i in range(lo, hi):
        for c in range(x.shape[1]):
            y[i, c] = x.dtype.type(factor) * x[i, c]


def _scaled(engine: Engine, x: Array) -> Array:
    y = engine.empty(*x.shape)
    engine.rows(_times, x.shape[0], SCALE, x, y)
    return y


def _product(engine: Engine, a: Array, b: Array) -> Array:
    out = engine.empty(a.shape[0], b.shape[1])
    engine.matmul(a, b, out)
    return out


def _sum_of_products(engine: Engine, a: Array, b: Array, c: Array, d: Array) -> Array:
    """Return a b + c d."""
    out = _product(engine, c, d)
    engine.rows(add, out.shape[0], _product(engine, a, b), out)
    return out


def forward(engine: Engine, w: Cosine, z: Array) -> tuple[Array, Tape]:
    """Return y (B, V) and the tape."""
    n, tape = sphere.forward(engine, w.weight)
    return _scaled(engine, _product(engine, z, n.T)), Tape(z, tape)


def backward(engine: Engine, w: Cosine, tape: Tape, dy: Array, dw: Cosine | None) -> tuple[Array, Cotangents]:
    """Return dz (B, D) and what `r_backward` needs. Fill `dw` unless it is None."""
    g = _scaled(engine, dy)
    # forward: n = sphere(W), y = SCALE z n^T, so dn = g^T z
    dweight, dtape = sphere.backward(engine, tape.sphere, _product(engine, g.T, tape.z))
    if dw is not None:
        engine.rows(_times, dweight.shape[0], 1.0, dweight, dw.weight)
    return _product(engine, g, tape.sphere.n), Cotangents(g, dtape)


def r_forward(engine: Engine, w: Cosine, tape: Tape, Rw: Cosine, Rz: Array) -> tuple[Array, RTape]:
    """Return Ry (B, V) and the R-tape."""
    # forward: n = sphere(W), y = SCALE z n^T
    Rn, rtape = sphere.r_forward(engine, tape.sphere, Rw.weight)
    return _scaled(engine, _sum_of_products(engine, Rz, tape.sphere.n.T, tape.z, Rn.T)), RTape(Rz, rtape)


def r_backward(
    engine: Engine, w: Cosine, tape: Tape, dtape: Cotangents, Rw: Cosine, rtape: RTape, Rdy: Array, Rdw: Cosine
) -> Array:
    """Return Rdz (B, D) and fill `Rdw`."""
    g, Rg = dtape.g, _scaled(engine, Rdy)
    # backward: dn = g^T z, so Rdn = Rg^T z + g^T Rz
    Rdn = _sum_of_products(engine, Rg.T, tape.z, g.T, rtape.Rz)
    Rdweight = sphere.r_backward(engine, tape.sphere, dtape.sphere, rtape.sphere, Rdn)
    engine.rows(_times, Rdweight.shape[0], 1.0, Rdweight, Rdw.weight)
    # backward: dz = g n, so Rdz = Rg n + g Rn
    return _sum_of_products(engine, Rg, tape.sphere.n, g, rtape.sphere.Rn)
