"""Row selection: y_i = x_index(i), the linear map that turns a table into a batch.

Symbols
    x (R, D) distinct rows, index (N,) which of them each row of y is
Maps
    forward      y_i   = x_index(i)
    backward     dx_r  = sum_{i: index(i) = r} dy_i
    R-forward    Ry_i  = Rx_index(i)
    R-backward   Rdx_r = sum_{i: index(i) = r} Rdy_i
The map is linear and has no weights, so its R-maps are its forward and backward, applied to Rx and Rdy.

A row-wise layer gives equal rows for equal rows. So the layers before the first attention, whose input depends only
on (token, position), may run on the T p distinct rows and be selected afterwards; and the layers after the last
attention may run on position 0 alone, which is all that the read-out sees. Same function, same derivatives, less work.

The sum in backward goes through the inverse of the index: row r owns its sum, its members in ascending order.
"""

from typing import NamedTuple

import numpy as np

from minigrok.engine.base import Array, Engine


class Selection(NamedTuple):
    """An index and its inverse: row r is selected by members[starts[r]:starts[r + 1]]."""

    index: Array  # type: ignore[assignment]  # (N,) intp; tuple has a method of that name
    members: Array  # (N,) intp
    starts: Array  # (R + 1,) intp

    @property
    def shrinks(self) -> bool:
        """Whether fewer rows come out than go in: then select before the next row-wise layer."""
        return self.index.size < self.starts.size - 1


def selection(index: Array, n_rows: int) -> Selection:
    """Return the selection by `index` (N,) out of `n_rows` rows.

    Parameters
    ----------
    index : (N,) int array
        Values in 0 .. n_rows - 1. Not checked.
    n_rows : int
        Number R of distinct rows.
    """
    members = np.argsort(index, kind="stable")
    starts = np.zeros(n_rows + 1, np.intp)
    np.cumsum(np.bincount(index, minlength=n_rows), out=starts[1:])
    return Selection(np.ascontiguousarray(index, np.intp), members, starts)


def _forward(lo: int, hi: int, index: Array, x: Array, y: Array) -> None:
    for i in range(lo, hi):
        # y_i = x_index(i)
        row = x[index[i]]
        for c in range(row.size):
            y[i, c] = row[c]


def _backward(lo: int, hi: int, members: Array, starts: Array, dy: Array, dx: Array) -> None:
    for r in range(lo, hi):
        # forward: y_i = x_index(i), so dx_r sums dy_i over the members i of r, in ascending order
        total = dx[r]
        for c in range(total.size):
            total[c] = 0
        for j in range(starts[r], starts[r + 1]):
            row = dy[members[j]]
            for c in range(row.size):
                total[c] += row[c]


def forward(engine: Engine, rows: Selection | None, x: Array) -> Array:
    """Return y (N, D); None selects every row once and returns x itself."""
    if rows is None:
        return x
    y = engine.empty(rows.index.size, x.shape[1])
    engine.rows(_forward, rows.index.size, rows.index, x, y)
    return y


def backward(engine: Engine, rows: Selection | None, dy: Array) -> Array:
    """Return dx (R, D); for None dy itself."""
    if rows is None:
        return dy
    dx = engine.empty(rows.starts.size - 1, dy.shape[1])
    engine.rows(_backward, dx.shape[0], rows.members, rows.starts, dy, dx)
    return dx


r_forward = forward
r_backward = backward
