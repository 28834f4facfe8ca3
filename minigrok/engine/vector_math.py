"""exp and erf that LLVM can vectorise: the CPU engine's replacements of math.exp and math.erf.

A loop that calls libm is not vectorised, and Numba's wheels lack SVML. These two have no calls and no
branches (selects only), so they are inlined into the caller's loop and run on 4 to 16 numbers at once. The
argument's type picks the version: float32 is computed in float32 throughout, float64 in float64; other types
do not compile.

    exp(x) = 2^k e^r        k = round(x / ln 2),  |r| <= ln(2) / 2 = 0.347
    erf(x) = sign(x) (1 - exp(-x^2) P(|x|) / Q(|x|))

They set their own fast-math flags, {"contract"}: a caller compiled with "reassoc" reorders its own sums but
nothing in here, where the order of operations is the point (k * ln2_high is exact, adding `shift` rounds).

Largest errors found on grids of 4 million points, float32 / float64, in units of eps = 2^-23 / 2^-52:

    exp    relative, 0.66 / 0.62, whatever the size of x; exp(0) = 1. Results below 2^-125.5 / 2^-1021.5 (1.4
           times the smallest normal number) are 0.
    erf    absolute, 1.4 / 1.6: all that 1 + erf(x) asks for, but erf(x) / x of a tiny x is inaccurate.
           Exactly odd, and exactly 1 from 4 / 6 on.

NaN stays NaN, infinities give their limits.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

FLAGS: Any = {"fastmath": {"contract"}, "error_model": "numpy", "forceinline": True}
LN2 = Fraction("0.6931471805599453094172321214581765680755")

# 1/n!, highest power first. The remainder r^(n+1) / (n+1)! is below 1e-8 (degree 7) and 5e-18 (degree 13).
EXP_32 = [1 / math.factorial(n) for n in range(7, -1, -1)]
EXP_64 = [1 / math.factorial(n) for n in range(13, -1, -1)]

# Highest power first, fitted by tests/fit_erf.py; absolute error of erf below 5.5e-10 and 4.4e-17. All are
# positive: nothing cancels. (Tried: erf(x) = x P(x^2) / Q(x^2), degrees 5 / 5 and 12 / 12. Alone it is
# faster, 0.35 instead of 0.51 ns in float32, but errors are 2.7 and 4.3 eps, and GELU with its slope, which
# shares this exp, would take 0.75 instead of 0.60 ns.)
# fmt: off
ERF_32_P = [0.05596905, 0.34500432, 0.8409518, 1.0]
ERF_32_Q = [0.09953215, 0.6072234, 1.5671579, 1.9693309, 1.0]
ERF_64_P = [
    0.001278117475786888, 0.017960087887114763, 0.11562534329922301, 0.43516024467790937,
    1.017269096544857, 1.4201474618057102, 1.0,
]
ERF_64_Q = [
    0.0022653622167852503, 0.031834655177284336, 0.2060556393256627, 0.7873840912378516,
    1.9032573673588271, 2.8929734513844885, 2.5485266289012327, 1.0,
]
# fmt: on


def exp(x: float) -> float:
    """Return e^x; vectorisable where Numba compiles the call, math.exp in ordinary Python."""
    return math.exp(x)


def erf(x: float) -> float:
    """Return erf(x); vectorisable where Numba compiles the call, math.erf in ordinary Python."""
    return math.erf(x)


@register_jitable(**FLAGS)
def horner(coefficients: tuple[Any, ...], x: Any) -> Any:
    """Return the polynomial at x; coefficients from the highest power down, in the type of x."""
    y = coefficients[0]
    for i in range(1, len(coefficients)):
        y = y * x + coefficients[i]
    return y


def make_exp(real: Any, taylor: list[float]) -> Callable[[Any], Any]:
    """Return exp for one dtype, as Python source for Numba.

    x is first limited to where k, the exponent of the result, just leaves the range of normal numbers: there
    the last line gives inf or 0 by itself. NaN passes the limits because it compares false, and is never cast
    to an integer: adding `shift`, whose last bit counts 1, rounds x / ln 2 to the integer k and leaves
    k + bias - 1 in the low bits of the sum, from where they are moved to the exponent field. That makes
    2^(k-1) (2^k would overflow for the largest results), so the polynomial is doubled. ln 2 is subtracted in
    two parts, the first so short that k times it is exact.

    Parameters
    ----------
    real : type
        np.float32 or np.float64.
    taylor : list of float
        Coefficients of e^r, highest power first.
    """
    info = np.finfo(real)
    integer = np.int32 if real is np.float32 else np.int64
    fraction = info.nmant  # bits: 23 or 52
    lowest, highest = real(info.minexp * LN2), real((info.maxexp + Fraction(1, 4)) * LN2)
    log2_e = real(1 / LN2)
    shift = real(1.5 * 2.0**fraction - info.minexp)  # bias - 1 = -minexp
    grid = 2 ** (fraction - 11)  # k has 11 bits at most
    ln2_high = real(math.floor(LN2 * grid) / grid)
    ln2_low = real(LN2 - Fraction(float(ln2_high)))
    twice = tuple(real(2 * c) for c in taylor)

    def exp_of(x: Any) -> Any:
        z = highest if x > highest else x
        z = lowest if z < lowest else z
        shifted = real(z * log2_e + shift)
        k = shifted - shift
        r = (z - k * ln2_high) - k * ln2_low
        power = integer(shifted.view(integer) << fraction).view(real)  # 2^(k-1), or 0
        return horner(twice, r) * power

    return exp_of


def make_erf(real: Any, numerator: list[float], denominator: list[float]) -> Callable[[Any], Any]:
    """Return erf for one dtype, as Python source for Numba.

    P and Q see |x| up to 10 only, where exp(-100) vanishes beside 1, because infinity / infinity is NaN. exp
    takes x itself: a caller that needs exp(-x * x) beside erf(x), in these words, computes it once.

    Parameters
    ----------
    real : type
        np.float32 or np.float64.
    numerator, denominator : list of float
        P and Q in |x|, highest power first.
    """
    p, q = tuple(map(real, numerator)), tuple(map(real, denominator))
    zero, one, ten = real(0), real(1), real(10)

    def erf_of(x: Any) -> Any:
        z = abs(x)
        z = ten if z > ten else z
        y = one - exp(-x * x) * (horner(p, z) / horner(q, z))
        return -y if x < zero else y

    return erf_of


EXP = {types.float32: make_exp(np.float32, EXP_32), types.float64: make_exp(np.float64, EXP_64)}
ERF = {types.float32: make_erf(np.float32, ERF_32_P, ERF_32_Q), types.float64: make_erf(np.float64, ERF_64_P, ERF_64_Q)}


@overload(exp, jit_options=FLAGS)
def _exp(x: Any) -> Callable[[Any], Any] | None:
    return EXP.get(x)


@overload(erf, jit_options=FLAGS)
def _erf(x: Any) -> Callable[[Any], Any] | None:
    return ERF.get(x)
