"""Commutators of two gradient steps: by finite differences as in the paper, exactly, and what rounding alone leaves.

g and H are gradient and Hessian of a loss at theta; A and B are two losses (two batches, or two tasks).
    AB              theta_AB = theta - eta g_A(theta) - eta g_B(theta - eta g_A(theta)), from the left;  BA alike
    difference      delta = theta_AB - theta_BA = eta^2 [A, B] + O(eta^3)
    bracket         [A, B] = H_B g_A - H_A g_B                        two Hessian products at theta; no eta
    defect          D = |[A, B]| / (|g_A| |g_B|)
    paper's defect  D = |delta| / (|eta g_A| |eta g_B| + 1e-12)       float32, eta = 1e-3
    rounding floor  paper's D of the two linear losses <g_A, theta> and <g_B, theta>: H = 0, so all of it is rounding
    rounding error  |delta in float32 - delta in float64| / (eta^2 |g_A| |g_B|), in units of D
The floor is no bound on the error. Subtracting two fixed steps in either order rounds to the same number unless a power
of two is crossed, so the floor comes from weights that are one, such as the LayerNorm gains at initialisation (all of
it: tests/geometry/test_brackets.py), and is 100 times lower elsewhere. In the real difference the second steps differ,
by less than the spacing of float32 numbers where |g| is small, and are rounded apart: only the error shows that.
theta has no unit and a loss is in nats, so |g| is in nats, |[A, B]| in nats^2, and D has no unit.

What D does not see, and what it does: it is bilinear over bilinear, so a factor on either loss, which changes H and g,
leaves it; but theta in units c times as large has D / c: networks with smaller weights have larger D by that alone. And
[A, B] and |g_A| |g_B| both go to 0 with the loss, at different rates: D can grow while the bracket falls 10^4-fold. It
is no curvature, and is published together with |[A, B]|, |g_A| and |g_B|.
Source: arXiv:2602.18523, code aa4e72f (paper's defect); the Lie bracket of the two gradient fields: any textbook.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from minigrok.engine import Array
from minigrok.geometry import lengths

ETA = 1e-3  # the paper's step
PAPER_EPS = 1e-12  # in the denominator of the paper's defect, and nowhere else


class Slope(Protocol):
    """A differentiable loss of theta (P,)."""

    def grad(self, theta: Array) -> Array:
        """Return the gradient (P,)."""


class Curve(Slope, Protocol):
    """A twice differentiable loss of theta (P,), such as `minigrok.network.objective.Objective`."""

    def hvp(self, theta: Array, v: Array) -> Array:
        """Return the Hessian times v (P,)."""


@dataclass(frozen=True)
class Linear:
    """The loss <g, theta>: gradient g (P,) everywhere, Hessian 0."""

    g: Array

    def grad(self, theta: Array) -> Array:
        """Return g."""
        return self.g


class Commutator(NamedTuple):
    """A commutator with the gradients that it is made of.

    vector : (P,)      [A, B], or delta
    g_a, g_b : (P,)    gradients at theta
    """

    vector: Array
    g_a: Array
    g_b: Array


def bracket(a: Curve, b: Curve, theta: Array) -> Commutator:
    """Return the exact bracket H_B g_A - H_A g_B at theta (P,).

    Two gradients and two Hessian products. Where a and b are the same loss it is 0 to the last bit.
    """
    g_a, g_b = a.grad(theta), b.grad(theta)
    return Commutator(b.hvp(theta, g_a) - a.hvp(theta, g_b), g_a, g_b)


def difference(
    a: Slope, b: Slope, theta: Array, eta: float = ETA, gradients: tuple[Array, Array] | None = None
) -> Commutator:
    """Return theta_AB - theta_BA, in the dtype of theta (P,) and in the paper's order of subtraction.

    Parameters
    ----------
    a, b : losses
        In the dtype of theta.
    theta : (P,) float32 or float64
    eta : float > 0
        Step (paper: 1e-3).
    gradients : pair of (P,), optional
        Those at theta, if they are known: two gradients are computed instead of four.

    Returns
    -------
    Commutator
        Its vector is delta, not divided by eta^2.
    """
    step = theta.dtype.type(eta)
    g_a, g_b = gradients or (a.grad(theta), b.grad(theta))
    after_a, after_b = theta - step * g_a, theta - step * g_b
    ab = after_a - step * b.grad(after_a)
    ba = after_b - step * a.grad(after_b)
    return Commutator(ab - ba, g_a, g_b)


def rounding_floor(g_a: Array, g_b: Array, theta: Array, eta: float = ETA) -> Commutator:
    """Return the `difference` of two linear losses with these gradients: its true value is 0, so it is rounding alone.

    Rounding of sums with fixed steps only: see the module on why `rounding_error` can be far larger.
    """
    return difference(Linear(g_a), Linear(g_b), theta, eta)


def rounding_error(single: Commutator, double: Commutator, eta: float = ETA) -> float:
    """Return how far a float32 difference is from the float64 one at the same eta, in units of D."""
    return defect(double._replace(vector=single.vector.astype(np.float64) - double.vector), eta)


def defect(c: Commutator, eta: float = 1.0) -> float:
    """Return |vector| / (eta^2 |g_A| |g_B|): D of a bracket, or of a difference with its eta; nan where g is 0."""
    a, b = norm(c.g_a), norm(c.g_b)
    if not (a > 0 and b > 0):
        return float("nan")
    scale = eta * eta * a * b
    in_range = lengths.SMALLEST < scale < lengths.LARGEST
    return norm(c.vector) / scale if in_range else norm(c.vector) / (eta * a) / (eta * b)


def paper_defect(c: Commutator, eta: float = ETA) -> float:
    """Return |delta| / (|eta g_A| |eta g_B| + 1e-12), norms of the working precision's products summed in float64."""
    step = c.g_a.dtype.type(eta)
    return norm(c.vector) / (norm(step * c.g_a) * norm(step * c.g_b) + PAPER_EPS)


def norm(x: Array) -> float:
    """Return |x|, summed in float64."""
    return lengths.norm(x.astype(np.float64, copy=False))
