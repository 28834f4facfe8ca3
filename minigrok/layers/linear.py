"""Linear map: three matrix products, and twice as many for the R-operator.

Symbols
    x (N, I) input rows, W (O, I) weight and b (O,) bias as in PyTorch, y (N, O) output rows
Maps
    forward      y   = x W^T + b
    backward     dx  = dy W                          dW  = dy^T x                    db  = sum_i dy_i
    R-forward    Ry  = Rx W^T + x RW^T + Rb
    R-backward   Rdx = Rdy W + dy RW                 RdW = Rdy^T x + dy^T Rx         Rdb = sum_i Rdy_i
Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian", section 4.
"""

from typing import NamedTuple

from minigrok.engine.base import Array, Engine
from minigrok.layers.sums import add, column_sums


class Linear(NamedTuple):
    """Weight and bias of a linear map (or their gradients, or their R-directions)."""

    weight: Array  # (O, I)
    bias: Array  # (O,)


def _add_bias(lo: int, hi: int, bias: Array, y: Array) -> None:
    for i in range(lo, hi):
        # y = x W^T + b: the product is there
        for c in range(bias.size):
            y[i, c] += bias[c]


def _add_product_and_bias(lo: int, hi: int, product: Array, bias: Array, y: Array) -> None:
    for i in range(lo, hi):
        # Ry = Rx W^T + x RW^T + Rb: the first product is there
        for c in range(bias.size):
            y[i, c] += product[i, c] + bias[c]


def forward(engine: Engine, w: Linear, x: Array) -> tuple[Array, Array]:
    """Return y (N, O) and the tape: x (N, I)."""
    y = engine.empty(x.shape[0], w.bias.size)
    engine.matmul(x, w.weight.T, y)
    engine.rows(_add_bias, x.shape[0], w.bias, y)
    return y, x


def backward(engine: Engine, w: Linear, x: Array, dy: Array, dw: Linear | None) -> tuple[Array, Array]:
    """Return dx (N, I) and the cotangents that `r_backward` needs: dy (N, O). Fill `dw` unless it is None."""
    # forward: y = x W^T + b, so dx = dy W, dW = dy^T x, db = sum dy
    dx = engine.empty(*x.shape)
    engine.matmul(dy, w.weight, dx)
    if dw is not None:
        engine.matmul(dy.T, x, dw.weight)
        engine.rows(column_sums, dw.bias.size, dy, dw.bias)
    return dx, dy


def r_forward(engine: Engine, w: Linear, x: Array, Rw: Linear, Rx: Array) -> tuple[Array, Array]:
    """Return Ry (N, O) and the R-tape: Rx (N, I)."""
    # forward: y = x W^T + b, so Ry = Rx W^T + x RW^T + Rb
    Ry = engine.empty(x.shape[0], w.bias.size)
    product = engine.empty(*Ry.shape)
    engine.matmul(Rx, w.weight.T, Ry)
    engine.matmul(x, Rw.weight.T, product)
    engine.rows(_add_product_and_bias, x.shape[0], product, Rw.bias, Ry)
    return Ry, Rx


def r_backward(engine: Engine, w: Linear, x: Array, dy: Array, Rw: Linear, Rx: Array, Rdy: Array, Rdw: Linear) -> Array:
    """Return Rdx (N, I) and fill `Rdw`."""
    # backward: dx = dy W, so Rdx = Rdy W + dy RW
    Rdx, product = engine.empty(*x.shape), engine.empty(*x.shape)
    engine.matmul(Rdy, w.weight, Rdx)
    engine.matmul(dy, Rw.weight, product)
    engine.rows(add, x.shape[0], product, Rdx)
    # backward: dW = dy^T x, so RdW = Rdy^T x + dy^T Rx
    product = engine.empty(*Rdw.weight.shape)
    engine.matmul(Rdy.T, x, Rdw.weight)
    engine.matmul(dy.T, Rx, product)
    engine.rows(add, product.shape[0], product, Rdw.weight)
    # backward: db = sum dy, so Rdb = sum Rdy
    engine.rows(column_sums, Rdw.bias.size, Rdy, Rdw.bias)
    return Rdx
