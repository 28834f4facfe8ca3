"""Lesson 7: the gradient norm below which a commutator in float32 is rounding."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrok.engine import Array
from minigrok.geometry import brackets
from minigrok.lessons.findings import Finding, Names, call, number

SUFFIX = ".py"
P = 4096  # parameters of the losses that are tried
FACTOR = 3.0  # that an estimate may be off: our choice
SHIFTS = {  # what is made larger, and by how much the norm must change then
    "size": ((100.0, 1.0, 1.0), 10.0, "the numbers round by eps |theta|: twice the weights, twice the rounding"),
    "defect": ((1.0, 100.0, 1.0), 0.1, "float32 fails where rounding is as large as eta^2 D |g|^2: solve that for |g|"),
    "eta": ((1.0, 1.0, 10.0), 0.1, "the difference is eta^2 D |g|^2 long: eta belongs to it as |g| does"),
}

START = '''"""Lesson 7. How small may gradients be before the order of two steps is nothing but rounding?"""


def norm_at_which_float32_fails(size, defect, eta):
    """Return the gradient norm |g| at which the rounding error of theta_AB - theta_BA is as long as the difference.

    size is |theta|, defect is D = |difference| / (eta^2 |g|^2), eta is the step. Both gradients have the norm |g|.
    float32 has an eps of 1.2e-7: a number is rounded by half of that, relative to its size, or less.
    """
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield how the estimate scales, and how far it is from what float32 does."""
    base = number("the norm", call(names, "norm_at_which_float32_fails", 20.0, 30.0, 1e-3))
    yield Finding("it is positive", base > 0, f"{base:.3g}", "" if base > 0 else "a norm is positive")
    if base <= 0:
        return
    for name, (by, wanted, meaning) in SHIFTS.items():
        arguments = (20.0 * by[0], 30.0 * by[1], 1e-3 * by[2])
        ratio = number("the norm", call(names, "norm_at_which_float32_fails", *arguments)) / base
        holds = abs(math.log(max(ratio, 1e-300) / wanted)) < 0.1
        law = f"{name} times {max(by):.0f}: the norm times {wanted:g}"
        yield Finding(law, holds, f"times {ratio:.3g}", "" if holds else meaning)
    for size, curvature, eta in ((8.0, 40.0, 1e-3), (0.8, 400.0, 1e-3), (8.0, 40.0, 1e-2)):
        defect, measured = _measured(size, curvature, eta)
        said = number("the norm", call(names, "norm_at_which_float32_fails", size, defect, eta))
        holds = measured / FACTOR <= said <= measured * FACTOR
        law = f"|theta| {size:g}, D {defect:.3g}, eta {eta:g}: within a factor of {FACTOR:.0f}"
        yield Finding(law, holds, f"{said:.2g}, measured {measured:.2g}", "" if holds else _off(said / measured))


def _measured(size: float, curvature: float, eta: float) -> tuple[float, float]:
    """Return D of two quadratic losses, and the |g| at which float32's error is as large.

    A factor on both losses scales g and leaves D, so the error goes as 1 / |g|^2 and is measured once.
    """
    rng = np.random.default_rng(7)
    theta = rng.standard_normal(P)
    theta *= size / np.linalg.norm(theta)
    a, b = (_Quadratic(rng, theta, curvature) for _ in "AB")
    exact = brackets.difference(a, b, theta, eta)
    single = brackets.difference(a.rounded(), b.rounded(), theta.astype(np.float32), eta)
    defect = brackets.defect(exact, eta)
    error = brackets.rounding_error(single, exact, eta)
    return defect, math.sqrt(error / defect)


class _Quadratic:
    """The loss <g, x - theta> + (x - theta)^T H (x - theta) / 2 with |g| = 1 and H = c u w^T + c w u^T of rank two."""

    def __init__(self, rng: np.random.Generator, theta: Array, curvature: float) -> None:
        self.theta, self.curvature = theta, curvature
        self.g = rng.standard_normal(P)
        self.g /= np.linalg.norm(self.g)
        w = rng.standard_normal(P)
        self.w = w / np.linalg.norm(w)

    def rounded(self) -> "_Quadratic":
        """Return it in float32."""
        other: Any = object.__new__(_Quadratic)
        other.curvature = self.curvature
        other.theta, other.g, other.w = (x.astype(np.float32) for x in (self.theta, self.g, self.w))
        return other  # type: ignore[no-any-return]

    def grad(self, x: Array) -> Array:
        """Return g + H (x - theta)."""
        moved, c = x - self.theta, x.dtype.type(self.curvature)
        moves: Array = self.w * (self.g @ moved) + self.g * (self.w @ moved)
        gradient: Array = self.g + c * moves
        return gradient


def _off(ratio: float) -> str:
    return f"{ratio:.2g} times what float32 does: " + (
        "half an eps is 6e-8, that of float32"
        if ratio < 1
        else "each number rounds for itself, so errors add as a length"
    )
