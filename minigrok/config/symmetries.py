"""The symmetries of the operations: maps of a pair that cost no arithmetic and keep the answer.

A map is an invertible matrix ((r, s), (t, u)) with entries -1, 0 and 1 that takes (a, b) to (r a + s b, t a + u b)
mod p. Those that keep an operation are a group:

    add        a + b              2    swap (a, b) -> (b, a)
    mul        a b                4    swap, joint sign (-a, -b)
    sq         a^2 + b^2          8    swap, the sign of each
    sub        a - b              2    (-b, -a)
    div        a / b              2    joint sign
    x2_xy_y2   a^2 + a b + b^2   12    swap, the turn (-b, a + b), whose third power is the joint sign
    x3_xy      a^3 + a b          1    none

These are all such matrices: tests try every one. An answer has more maps that keep it, such as (c a, b / c) for mul, or
(a + c, b - c) for add. They join all pairs of one answer, and to know them is to know the operation.
Source: our choice. Swap and signs are what arXiv:2602.18523 leaves open; our counts of partners are in the tests.
"""

from collections.abc import Iterable
from typing import NamedTuple

from minigrok.errors import ConfigError


class Map(NamedTuple):
    """(a, b) -> (r a + s b, t a + u b)."""

    r: int
    s: int
    t: int
    u: int

    def after(self, other: "Map") -> "Map":
        """Return the map that does `other` first, then this one."""
        first, second = other[:2], other[2:]
        row = [tuple(x * a + y * b for a, b in zip(first, second, strict=True)) for x, y in (self[:2], self[2:])]
        return Map(*row[0], *row[1])


IDENTITY = Map(1, 0, 0, 1)
SWAP = Map(0, 1, 1, 0)
BOTH_SIGNS = Map(-1, 0, 0, -1)
SIGN = Map(-1, 0, 0, 1)
TURN = Map(0, -1, 1, 1)

GENERATORS: dict[str, tuple[Map, ...]] = {
    "add": (SWAP,),
    "mul": (SWAP, BOTH_SIGNS),
    "sq": (SWAP, SIGN),
    "sub": (BOTH_SIGNS.after(SWAP),),
    "x2_xy_y2": (SWAP, TURN),
    "x3_xy": (),
    "div": (BOTH_SIGNS,),
}


def group(operations: Iterable[str]) -> tuple[Map, ...]:
    """Return every product of the symmetries of some operations, the identity first.

    Parameters
    ----------
    operations : iterable of str
        Names in `minigrok.config.operations.OPERATIONS`. Of one: its symmetries. Of several: the smallest group that
        has the symmetries of each.

    Raises
    ------
    ConfigError
        There are infinitely many products. Then mod p they join nearly all pairs.
    """
    operations = list(operations)
    generators = [each for name in operations for each in GENERATORS[name]]
    found = [IDENTITY]
    for known in found:  # grows on the way
        for generator in generators:
            product = generator.after(known)
            if max(map(abs, product)) > 1:  # no finite group that these generate has such an entry
                required = "task.operations whose symmetries together are a finite group"
                got = f"{', '.join(operations)}, whose products never end"
                raise ConfigError(required, got, 'set task.split = "random", or leave one operation out')
            if product not in found:
                found.append(product)
    return tuple(found)
