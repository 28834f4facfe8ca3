"""Embedding: the table of all (position, token) rows.

Symbols
    token (p, D) token embedding, position (T, D) position embedding
    x (T p, D) table: its row j p + t, written x_jt, is token t at position j
Maps
    forward      x_jt  = token_t + position_j
    backward     dtoken_t  = sum_j dx_jt             dposition_j  = sum_t dx_jt
    R-forward    Rx_jt = Rtoken_t + Rposition_j
    R-backward   Rdtoken_t = sum_j Rdx_jt            Rdposition_j = sum_t Rdx_jt
The map is linear in its weights, so its R-maps are its forward and backward, applied to Rw and Rdx.
A batch is a selection of the table's rows: see select.py.
"""

from typing import NamedTuple

from minigrok.engine.base import Array, Engine


class Embedding(NamedTuple):
    """Token and position embeddings (or their gradients, or their R-directions)."""

    position: Array  # (T, D)
    token: Array  # (p, D)


def _forward(lo: int, hi: int, position: Array, token: Array, x: Array) -> None:
    p = token.shape[0]
    for i in range(lo, hi):
        # row i = j p + t: x_jt = token_t + position_j
        for c in range(token.shape[1]):
            x[i, c] = token[i % p, c] + position[i // p, c]


def _dtoken(lo: int, hi: int, dx: Array, dtoken: Array) -> None:
    p = dtoken.shape[0]
    for t in range(lo, hi):
        # forward: x_jt = token_t + position_j, so dtoken_t = sum_j dx_jt
        for c in range(dtoken.shape[1]):
            dtoken[t, c] = 0
        for j in range(dx.shape[0] // p):
            for c in range(dtoken.shape[1]):
                dtoken[t, c] += dx[j * p + t, c]


def _dposition(lo: int, hi: int, dx: Array, dposition: Array) -> None:
    p = dx.shape[0] // dposition.shape[0]
    for j in range(lo, hi):
        # forward: x_jt = token_t + position_j, so dposition_j = sum_t dx_jt
        for c in range(dposition.shape[1]):
            dposition[j, c] = 0
        for t in range(p):
            for c in range(dposition.shape[1]):
                dposition[j, c] += dx[j * p + t, c]


def forward(engine: Engine, w: Embedding) -> Array:
    """Return the table x (T p, D)."""
    x = engine.empty(w.position.shape[0] * w.token.shape[0], w.token.shape[1])
    engine.rows(_forward, x.shape[0], *w, x)
    return x


def backward(engine: Engine, dx: Array, dw: Embedding) -> None:
    """Fill `dw` from dx (T p, D)."""
    engine.rows(_dtoken, dw.token.shape[0], dx, dw.token)
    engine.rows(_dposition, dw.position.shape[0], dx, dw.position)


r_forward = forward
r_backward = backward
