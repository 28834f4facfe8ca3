"""Sums: the three bodies that the layers share.

    add            y_i += x_i                        one row i, all columns
    plus           z_i  = x_i + y_i                  one row i, all columns
    column_sums    s_c  = sum_i x_ic                 one column c, all rows in their order

Each owns what it writes, so all run on every engine. In `column_sums` the range counts columns.
"""

from minigrok.engine.base import Array


def add(lo: int, hi: int, x: Array, y: Array) -> None:
    """y += x, row by row; x and y (N, D)."""
    for i in range(lo, hi):
        for c in range(x.shape[1]):
            y[i, c] += x[i, c]


def plus(lo: int, hi: int, x: Array, y: Array, z: Array) -> None:
    """z = x + y, row by row; all (N, D)."""
    for i in range(lo, hi):
        for c in range(x.shape[1]):
            z[i, c] = x[i, c] + y[i, c]


def column_sums(lo: int, hi: int, x: Array, s: Array) -> None:
    """s_c = sum_i x_ic for the columns lo .. hi-1; x (N, D), s (D,)."""
    mine = s[lo:hi]
    for c in range(mine.size):
        mine[c] = 0
    for i in range(x.shape[0]):
        row = x[i, lo:hi]
        for c in range(mine.size):
            mine[c] += row[c]
