"""Lengths, directions and cosines of vectors, right at every scale that their numbers can have.

    norm      |x| = sqrt(sum x_i^2)
    unit      x / |x|
    cosine    <x, y> / (|x| |y|)
A square of 1e-30 is 0 in float32, and that of 1e30 infinite; in float64 the same happens at 1e-162 and at 1e155. So
where the plain sum of squares leaves the range of its type, |x| = t |x / t| with t = max |x_i|. Inside that range the
plain sum is as accurate, and is what is returned.
Source: scaling: LAPACK's nrm2, Blue 1978.
"""

import numpy as np

from minigrok.engine import Array

SMALLEST, LARGEST = 1e-280, 1e280  # of a product of two lengths in float64 that lost no digits: our choice


def norm(x: Array) -> float:
    """Return |x| of an array of any shape, summed in its dtype; inf or nan where x holds them."""
    x = x.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        size = float(np.linalg.norm(x))
    least = np.sqrt(x.size * float(np.finfo(x.dtype).tiny))  # below it the squares that underflow may count
    if least <= size < np.inf:
        return size
    x = x.astype(np.float64, copy=False)
    top = float(np.abs(x).max(initial=0))
    return top * float(np.linalg.norm(x / top)) if 0 < top < np.inf else top


def unit(x: Array) -> Array:
    """Return x / |x| in the dtype of x; 0 has no direction, and stays 0."""
    size = norm(x)
    return (x / size).astype(x.dtype, copy=False) if size > 0 else x.copy()


def cosine(x: Array, y: Array) -> float:
    """Return the cosine between x and y (P,), summed in float64; nan where one of them is 0."""
    x, y = x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
    a, b = norm(x), norm(y)
    if not (a > 0 and b > 0):
        return float("nan")
    if SMALLEST < a * b < LARGEST:
        return float(x @ y) / (a * b)
    return float((x / a) @ (y / b))


def balanced(x: Array) -> Array:
    """Return x times the power of two that brings its largest entry between 1/2 and 1.

    Ratios of sums of powers of x are then the same to the last bit, and nothing leaves the range.
    """
    _, exponent = np.frexp(np.abs(x).max(initial=0))
    return np.asarray(np.ldexp(x, -exponent))
