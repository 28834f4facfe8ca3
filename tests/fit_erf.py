"""Fit P / Q of erf(z) = 1 - exp(-z^2) P(z) / Q(z), z >= 0, for minigrok/engine/vector_math.py.

By hand: python tests/fit_erf.py. Needs mpmath and 4 seconds.

P / Q approximates g(z) = exp(z^2) erfc(z) on [0, end]; beyond, erf is 1 to the last bit. What counts is the
error of erf, so errors of g are weighed by exp(-z^2), and P(0) = Q(0) = 1 makes erf(0) = 0. Least squares in
60 digits on Chebyshev nodes: each sweep minimises

    sum_i w_i (exp(-z_i^2) (P - g Q) / Q_old)^2            (Sanathanan and Koerner, 1963)

and then multiplies w_i by the size of the error at z_i (Lawson, 1961), which evens out the peaks. Printed is
the sweep with the lowest peak: its error, P and Q, highest power first, rounded to the dtype.
"""

from __future__ import annotations

import mpmath
import numpy as np

SWEEPS = 20


def fit(m: int, n: int, end: mpmath.mpf) -> tuple[mpmath.mpf, list[mpmath.mpf], list[mpmath.mpf]]:
    """Return the largest error, P of degree m and Q of degree n, lowest power first."""
    size = 8 * (m + n)
    nodes = [end * (1 - mpmath.cos(mpmath.pi * (i + mpmath.mpf(1) / 2) / size)) / 2 for i in range(size)]
    decay = [mpmath.exp(-z * z) for z in nodes]
    g = [mpmath.erfc(z) / d for z, d in zip(nodes, decay, strict=True)]
    q = weight = [mpmath.mpf(1)] * size
    best: tuple[mpmath.mpf, list[mpmath.mpf], list[mpmath.mpf]] = (mpmath.inf, [], [])
    for sweep in range(SWEEPS):
        rows, right = mpmath.matrix(size, m + n), mpmath.matrix(size, 1)
        for i, z in enumerate(nodes):
            scale = mpmath.sqrt(weight[i]) * decay[i] / q[i]
            rows[i, :] = scale * mpmath.matrix(
                [[z**j for j in range(1, m + 1)] + [-g[i] * z**j for j in range(1, n + 1)]]
            )
            right[i] = scale * (g[i] - 1)
        found = list(mpmath.lu_solve(rows.T * rows, rows.T * right))
        numerator, denominator = [mpmath.mpf(1), *found[:m]], [mpmath.mpf(1), *found[m:]]
        p = [mpmath.polyval(numerator[::-1], z) for z in nodes]
        q = [mpmath.polyval(denominator[::-1], z) for z in nodes]
        error = [d * abs(a / b - c) for d, a, b, c in zip(decay, p, q, g, strict=True)]
        best = min(best, (max(error), numerator, denominator), key=lambda item: item[0])
        if sweep > 3:  # let the denominator settle before the weights move
            peak = max(error)
            weight = [w * (e / peak + mpmath.mpf("0.02")) for w, e in zip(weight, error, strict=True)]
            mean = mpmath.fsum(weight) / size
            weight = [w / mean for w in weight]
    return best


def main() -> None:
    """Print the coefficients for both dtypes."""
    mpmath.mp.dps = 60
    for real, m, n, end in ((np.float32, 3, 4, "3.9"), (np.float64, 6, 7, "5.9")):
        peak, *polynomials = fit(m, n, mpmath.mpf(end))
        print(f"# {real.__name__}, degrees {m} / {n} on [0, {end}]: error {mpmath.nstr(peak, 3)}")
        for name, values in zip("PQ", polynomials, strict=True):
            print(name, "=", [str(real(mpmath.nstr(value, 30))) for value in values[::-1]])


if __name__ == "__main__":
    main()
