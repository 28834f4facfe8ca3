"""The operations that a network learns, each on pairs of numbers mod p."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from minigrok.errors import ConfigError

Ints = npt.NDArray[np.int64]


def add(a: Ints, b: Ints, p: int) -> Ints:
    """a + b mod p."""
    return (a + b) % p


def sub(a: Ints, b: Ints, p: int) -> Ints:
    """a - b mod p, in 0 .. p-1."""
    return (a - b) % p


def mul(a: Ints, b: Ints, p: int) -> Ints:
    """a b mod p."""
    return (a * b) % p


def sq(a: Ints, b: Ints, p: int) -> Ints:
    """a^2 + b^2 mod p."""
    total: Ints = a * a + b * b
    return total % p


def x2_xy_y2(a: Ints, b: Ints, p: int) -> Ints:
    """a^2 + a b + b^2 mod p."""
    total: Ints = a * a + a * b + b * b
    return total % p


def x3_xy(a: Ints, b: Ints, p: int) -> Ints:
    """a^3 + a b mod p; int64 holds a^3 for every p below two million."""
    total: Ints = a * a * a + a * b
    return total % p


def div(a: Ints, b: Ints, p: int) -> Ints:
    """a b^-1 mod p; b must not be 0."""
    if np.any(b % p == 0):
        raise ConfigError("b different from 0 in a / b", "b = 0", "set task.exclude_zero = true")
    inverse = np.array([0] + [pow(i, -1, p) for i in range(1, p)], dtype=np.int64)  # (p,), entry 0 unused
    return (a * inverse[b % p]) % p


# Each maps int64 arrays a and b of one shape, and the prime p, to an int64 array of that shape in 0 .. p-1.
OPERATIONS: dict[str, Callable[[Ints, Ints, int], Ints]] = {
    "add": add,
    "mul": mul,
    "sq": sq,
    "sub": sub,
    "x2_xy_y2": x2_xy_y2,
    "x3_xy": x3_xy,
    "div": div,
}
