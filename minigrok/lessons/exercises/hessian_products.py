"""Lesson 6: a Hessian product by finite differences, and the step at which it is best."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from minigrok.config import preset
from minigrok.engine import Array
from minigrok.lessons.findings import Finding, Names, array, call, factor, number
from minigrok.network.objective import Objective
from minigrok.network.params import initial
from minigrok.tasks import pairs

SUFFIX = ".py"
FEW = 128  # pairs of the loss that is tried
LARGE = 10.0 ** -np.arange(1.0, 3.01, 0.5)  # eps where the bend of the gradient is all of the error
STEPS = 10.0 ** -np.arange(1.0, 10.0, 0.5)  # eps of the V

START = '''"""Lesson 6. A Hessian product by two gradients, and how good it can be."""


def product(gradient, theta, v, eps):
    """Return H v by a central difference: the gradients at theta + eps v and theta - eps v.

    gradient(theta) is the gradient of the loss, an array of the shape of theta.
    """
    ...


def best_eps(rounding, bend):
    """Return the eps at which the error is smallest, if it is rounding / eps + bend * eps^2."""
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield what the error of `product` does, and whether `best_eps` is where it is smallest."""
    objective, theta, v = _loss()
    exact = objective.hvp(theta, v)

    def error(eps: float) -> float:
        found = _product(names, objective.grad, theta, v, eps)
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    errors = np.array([error(eps) for eps in LARGE])
    slope = float(np.polyfit(np.log(LARGE), np.log(np.maximum(errors, 1e-300)), 1)[0])
    holds = slope >= 1.9
    hint = "" if holds else _sloped(slope, _product(names, objective.grad, theta, v, 1e-3), exact)
    yield Finding("the error of `product` shrinks as eps^2", holds, f"slope {slope:.2f}", hint)
    yield from _best(lambda a, b: number("best_eps", call(names, "best_eps", a, b)))
    if holds:
        yield _measured(names, error)


def _loss() -> tuple[Objective, Array, Array]:
    """Return tiny's loss at its initial weights, on few pairs, and the direction of its gradient."""
    config = preset("tiny")
    data = pairs(config.task, config.seed)
    objective, theta = Objective(config, *data.of(data.train[:FEW])), initial(config).astype(np.float64)
    g = objective.grad(theta)
    return objective, theta, g / np.linalg.norm(g)


def _product(names: Names, gradient: Callable[[Array], Array], theta: Array, v: Array, eps: float) -> Array:
    return array("product", call(names, "product", gradient, theta.copy(), v.copy(), eps), theta.shape, "as theta")


def _sloped(slope: float, got: Array, exact: Array) -> str:
    if slope > 0.8:
        return "slope 1: a one-sided difference. The gradient at theta - eps v makes the first error cancel"
    c = factor(np.round(got, 6), np.round(exact, 6)) or float(got @ exact / (exact @ exact))
    if abs(c - 2) < 0.01:
        return "twice too large: the two points are 2 eps apart, so divide by 2 eps"
    if abs(c + 1) < 0.01:
        return "the sign is wrong: plus minus minus, not minus minus plus"
    if abs(c) < 0.01:
        return "nearly 0: divide by the distance of the two points, 2 eps"
    return f"it does not go to H v as eps gets small: it is {c:.3g} times H v"


def _best(best: Callable[[float, float], float]) -> Iterator[Finding]:
    """Yield the laws of the smallest error: how it scales, and where it is."""
    base = best(1e-15, 10.0)
    positive = base > 0
    yield Finding("best_eps is positive", positive, f"{base:.2g}", "" if positive else "eps is a length")
    if not positive:
        return
    powers = [math.log(abs(best(*arguments)) / base, 1000) for arguments in ((1e-12, 10.0), (1e-15, 1e4))]
    holds = abs(powers[0] - 1 / 3) < 0.02 and abs(powers[1] + 1 / 3) < 0.02
    got = f"rounding to the power {powers[0]:.2f}, bend to the power {powers[1]:.2f}"
    if holds:
        hint = ""
    elif abs(powers[0] - 0.5) < 0.02:
        hint = "the square root is the best step of the one-sided difference, whose error is rounding/eps + bend eps"
    elif powers == [0, 0]:
        hint = "a fixed number fits one loss alone: set the derivative of the error by eps to 0"
    else:
        hint = "the derivative of the error is -rounding/eps^2 + 2 bend eps: where is it 0?"
    yield Finding("best_eps is a cube root", holds, got, hint)
    theory = (1e-15 / 2 / 10) ** (1 / 3)
    near = theory / 10 <= base <= theory * 10
    hint = "" if near else "put it back into rounding/eps + bend eps^2: is the error smaller beside it?"
    yield Finding("within a decade of theory", near, f"{base:.1e} beside {theory:.1e}", hint)


def _measured(names: Names, error: Callable[[float], float]) -> Finding:
    """Return whether the eps that the answer takes from the V of tiny's loss is at its bottom."""
    errors = {float(eps): error(float(eps)) for eps in STEPS}
    rounding = float(np.median([eps * errors[eps] for eps in errors if eps < 1e-7]))
    bend = float(np.median([errors[eps] / eps**2 for eps in errors if eps > 3e-3]))
    chosen = abs(number("best_eps", call(names, "best_eps", rounding, bend)))
    there, least = error(min(max(chosen, 1e-14), 1.0)), min(errors.values())
    holds = there <= 10 * least
    got = f"error {there:.0e} at {chosen:.0e}, least {least:.0e}"
    return Finding("the bottom of tiny's V", holds, got, "" if holds else "ten times more error than at the bottom")
