"""PyTorch's CPU generator without PyTorch: the numbers that follow `torch.manual_seed(seed)`.

    words      w = mt19937 after init_genrand(seed), 32 bits each: NumPy's RandomState(seed), frozen for good
    fractions  f = (w mod 2^24) 2^-24, in [0, 1)
    uniform_   low + (high - low) f, rounded once
    normal_    from 16 numbers on: of 16 fractions, u the first eight and v the others, come r cos(2 pi v), then
               r sin(2 pi v), r = sqrt(-2 log(1 - u)); if 16 does not divide the length, the last 16 are drawn again
               below 16 numbers: of u and v, each 53 bits of two words, come r cos(2 pi u), then r sin(2 pi u),
               r = sqrt(-2 log(1 - v)), in float64; the second waits for whoever draws next

log, sin and cos are float32, after Cephes' logf and sincosf: polynomials, and nothing of the C library, so that every
machine gets the same bits. They are PyTorch's on x86-64 with AVX2 or AVX-512. On other processors PyTorch calls the C
library: `minigrok help accuracy` says how far away its numbers are then.

Source
------
PyTorch 2.13.0, bit for bit in the tests; M. Matsumoto, T. Nishimura, ACM TOMACS 8, 3 (1998); S. Moshier, Cephes 2.2.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Real = np.float32
BLOCK = 16  # numbers that normal_ makes at once
LOG = [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1]
LOG += [-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1]
LOG_2 = (-2.12194440e-4, 0.693359375)  # their sum: the low part, then one of few bits, so that a multiple is exact
SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
HALF_PI = (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8)  # pi / 2 in three parts


class TorchGenerator:
    """PyTorch's CPU generator after `torch.manual_seed(seed)`, seed in [0, 2^32), with two methods of NumPy's."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed)
        self._spare: list[float] = []

    def uniform(self, low: float, high: float, shape: Sequence[int]) -> Array:
        """Numbers (*shape) float32 of uniform_(low, high)."""
        return _fused(self._fractions(math.prod(shape)), Real(high) - Real(low), Real(low)).reshape(shape)

    def standard_normal(self, shape: Sequence[int]) -> Array:
        """Numbers (*shape) float32 of normal_(0, 1), the same as randn(shape)."""
        n = math.prod(shape)
        if n < BLOCK:
            return np.array([self._next() for _ in range(n)], Real).reshape(shape)
        z = _box_muller(self._fractions(n)[: n - n % BLOCK])
        if n % BLOCK:
            z = np.append(z[: n - BLOCK], _box_muller(self._fractions(BLOCK)))
        return z.reshape(shape)

    def _take(self, n: int) -> Array:
        return np.frombuffer(self._words.bytes(4 * n), "<u4")  # (n,) the next words

    def _fractions(self, n: int) -> Array:
        return (self._take(n) & 0xFFFFFF).astype(Real) * Real(2**-24)  # (n,), exact

    def _next(self) -> float:
        """Next number of normal_ below 16 numbers, float64."""
        if not self._spare:
            high, low = self._take(4).astype(np.uint64).reshape(2, 2).T
            u, v = ((high << np.uint64(32) | low) & np.uint64(2**53 - 1)) * 2.0**-53
            r, angle = math.sqrt(-2 * math.log1p(-v)), 2 * math.pi * u
            self._spare = [r * math.sin(angle), r * math.cos(angle)]
        return self._spare.pop()


def _box_muller(fractions: Array) -> Array:
    """Normal numbers (n,) of as many fractions, 16 by 16."""
    u, v = fractions.reshape(-1, 2, BLOCK // 2).swapaxes(0, 1)
    r, (sin, cos) = np.sqrt(Real(-2) * _log(Real(1) - u)), _sin_cos(Real(2 * math.pi) * v)
    return np.stack([r * cos, r * sin], axis=1).ravel()


def _log(x: Array) -> Array:
    """log(x) = log(m + 1) + e log 2, where x = (m + 1) 2^e and m + 1 is within a factor sqrt(2) of 1; x > 0."""
    m, e = np.frexp(x)
    low = m < Real(math.sqrt(0.5))
    m, e = np.where(low, m + m, m) - Real(1), (e - low).astype(Real)
    square = m * m
    y = _fused(_polynomial(LOG, m) * m, square, e * Real(LOG_2[0]))
    return _fused(e, Real(LOG_2[1]), m + _fused(square, Real(-0.5), y))


def _sin_cos(x: Array) -> tuple[Array, Array]:
    """sin(x) and cos(x), x >= 0, from those of x - k pi / 2 in [-pi / 4, pi / 4]."""
    k = ((x * Real(4 / math.pi)).astype(np.int32) + 1) >> 1
    for part in HALF_PI:
        x = _fused(k, Real(-part), x)
    square = x * x
    sin = _fused(_polynomial(SIN, square) * square, x, x)
    cos = _fused(_polynomial(COS, square) * square, square, Real(-0.5) * square) + Real(1)
    return np.choose(k & 3, (sin, cos, -sin, -cos)), np.choose(k & 3, (cos, -sin, -cos, sin))


def _polynomial(coefficients: Iterable[float], x: Array) -> Array:
    """Polynomial by Horner's rule, the highest power first."""
    y = np.zeros_like(x)
    for coefficient in coefficients:
        y = _fused(y, x, Real(coefficient))
    return y


def _fused(a: Array, b: Array | Real, c: Array | Real) -> Array:
    """A b + c in float32, rounded once: float64 holds a b exactly, and its own rounding shows once in 2^29 numbers."""
    return (np.multiply(a, b, dtype=np.float64) + c).astype(Real)
