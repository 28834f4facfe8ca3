"""The laws that correct derivatives obey, as checkers that anyone can run.

A `Case` is a differentiable map y = f(z) with four maps: `value`, `pull` (backward), `r_value` and `r_pull`; z is the
weights and inputs together, any nest of tuples of arrays. Each law returns one number; `LAWS` says which ones pass:

    adjoint         <dy, Ry> = <dz, Rz>                                  backward against R-forward
    taylor 1        |f(z + h Rz) - f(z) - h Ry| ~ h^2                    R-forward against f itself
    taylor 2        |dz(z + h Rz, dy + h Rdy) - dz - h Rdz| ~ h^2        R-backward against backward
    symmetry        <a, H b> = <b, H a>,  H b = R-backward along b       R-backward against itself
    linearity       R(s a + t b) = s R a + t R b                         both R-maps
    null direction  f(z + s n) = f(z) implies Ry = 0 and <dz, n> = 0     where a layer has such an n

Taylor laws return the slope of log remainder over log h, not one error: a missing term makes it 1. They anchor
everything in the forward map. The others cost no step size and are good to rounding.
Source: Griewank & Walther 2008, section 3 (adjoint identity, Taylor tests); thresholds: our choice, see `LAWS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrok.engine import Array, Engine

Tree = Any  # an array, or a tuple of trees
STEPS = 10.0 ** -np.linspace(1.5, 3.5, 7)  # h of the Taylor laws: remainders far above rounding


@dataclass(frozen=True)
class Case:
    """A differentiable map at one point.

    Attributes
    ----------
    name : str
    z : tree                                    the point: weights and inputs
    value(engine, z) -> (y, tape)
    pull(engine, z, tape, dy) -> (dz, dtape)
    r_value(engine, z, tape, Rz) -> (Ry, rtape)
    r_pull(engine, z, tape, dtape, Rz, rtape, Rdy) -> Rdz
    null : tree, optional                       a direction along which y does not change
    """

    name: str
    z: Tree
    value: Callable[..., tuple[Tree, Any]]
    pull: Callable[..., tuple[Tree, Any]]
    r_value: Callable[..., tuple[Tree, Any]]
    r_pull: Callable[..., Tree]
    null: Tree | None = None


def leaves(tree: Tree) -> Iterator[Array]:
    """Arrays of a tree, left to right."""
    if isinstance(tree, tuple | list):
        for part in tree:
            yield from leaves(part)
    elif tree is not None:
        yield np.asarray(tree)


def tree_map(f: Callable[..., Array], *trees: Tree) -> Tree:
    """Apply f to the arrays of trees of one form."""
    first = trees[0]
    if isinstance(first, tuple | list):
        parts = [tree_map(f, *each) for each in zip(*trees, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return None if first is None else f(*trees)


def flat(tree: Tree) -> Array:
    """Copy all numbers of a tree into one vector."""
    return np.concatenate([np.ravel(leaf) for leaf in leaves(tree)] or [np.zeros(0)])


def draw(rng: np.random.Generator, tree: Tree) -> Tree:
    """Return a standard normal direction of the form of `tree`."""
    return tree_map(lambda leaf: rng.standard_normal(np.shape(leaf)).astype(np.asarray(leaf).dtype), tree)


def _dot_error(x: Array, y: Array, u: Array, v: Array) -> float:
    """|<x, y> - <u, v>| relative to the sum of the terms' sizes."""
    size = np.abs(x * y).sum() + np.abs(u * v).sum()
    return float(abs(x @ y - u @ v) / size) if size else 0.0


def _difference(x: Array, y: Array, size: float) -> float:
    return float(np.abs(x - y).max(initial=0.0) / size) if size else 0.0


def _along(case: Case, engine: Engine, Rz: Tree, dy: Tree, Rdy: Tree) -> tuple[Array, Array, Array]:
    """Return (dz, Ry, Rdz) as vectors: all four maps once."""
    _, tape = case.value(engine, case.z)
    dz, dtape = case.pull(engine, case.z, tape, dy)
    Ry, rtape = case.r_value(engine, case.z, tape, Rz)
    Rdz = case.r_pull(engine, case.z, tape, dtape, Rz, rtape, Rdy)
    return flat(dz), flat(Ry), flat(Rdz)


def _cotangent(case: Case, engine: Engine, rng: np.random.Generator) -> Tree:
    return draw(rng, case.value(engine, case.z)[0])


def adjoint(case: Case, engine: Engine, rng: np.random.Generator) -> float:
    """Return the relative error of <dy, Ry> = <dz, Rz>."""
    Rz, dy = draw(rng, case.z), _cotangent(case, engine, rng)
    dz, Ry, _ = _along(case, engine, Rz, dy, dy)
    return _dot_error(flat(dy), Ry, dz, flat(Rz))


def _slope(remainder: Callable[[float], float], size: float) -> float:
    """Slope of log remainder over log h; infinite where the map is linear and nothing remains."""
    sizes = np.array([remainder(h) for h in STEPS])
    if sizes.max() <= 1e-11 * size:
        return float("inf")
    return float(np.polyfit(np.log(STEPS), np.log(np.maximum(sizes, 1e-300)), 1)[0])


def taylor_1(case: Case, engine: Engine, rng: np.random.Generator) -> float:
    """Return the slope of the first-order Taylor remainder of `value`."""
    Rz, dy = _small(draw(rng, case.z)), _cotangent(case, engine, rng)
    y0 = flat(case.value(engine, case.z)[0])
    _, Ry, _ = _along(case, engine, Rz, dy, dy)

    def remainder(h: float) -> float:
        y = flat(case.value(engine, _moved(case.z, h, Rz))[0])
        return float(np.linalg.norm(y - y0 - h * Ry))

    return _slope(remainder, float(np.linalg.norm(y0)))


def taylor_2(case: Case, engine: Engine, rng: np.random.Generator) -> float:
    """Return the slope of the first-order Taylor remainder of `pull`."""
    Rz, dy = _small(draw(rng, case.z)), _cotangent(case, engine, rng)
    Rdy = draw(rng, dy)
    dz0, _, Rdz = _along(case, engine, Rz, dy, Rdy)

    def remainder(h: float) -> float:
        z = _moved(case.z, h, Rz)
        dz, _ = case.pull(engine, z, case.value(engine, z)[1], _moved(dy, h, Rdy))
        return float(np.linalg.norm(flat(dz) - dz0 - h * Rdz))

    return _slope(remainder, float(np.linalg.norm(dz0)))


def _small(direction: Tree) -> Tree:
    """A tenth of a direction: near enough to the point for the Taylor series at every h of STEPS."""
    return tree_map(lambda leaf: 0.1 * leaf, direction)


def _moved(z: Tree, h: float, Rz: Tree) -> Tree:
    return tree_map(lambda a, b: a + h * b, z, Rz)


def symmetry(case: Case, engine: Engine, rng: np.random.Generator) -> float:
    """Return the relative error of <a, H b> = <b, H a>."""
    a, b, dy = draw(rng, case.z), draw(rng, case.z), _cotangent(case, engine, rng)
    zero = tree_map(np.zeros_like, dy)
    Ha = _along(case, engine, a, dy, zero)[2]
    Hb = _along(case, engine, b, dy, zero)[2]
    return _dot_error(flat(a), Hb, flat(b), Ha)


def linearity(case: Case, engine: Engine, rng: np.random.Generator) -> float:
    """Return the larger relative error of R(s a + t b) = s R a + t R b over both R-maps."""
    a, b, dy = draw(rng, case.z), draw(rng, case.z), _cotangent(case, engine, rng)
    Rdy_a, Rdy_b, s, t = draw(rng, dy), draw(rng, dy), 0.75, -1.5

    def mix(x: Array, y: Array) -> Array:
        return s * x + t * y

    one = _along(case, engine, a, dy, Rdy_a)
    two = _along(case, engine, b, dy, Rdy_b)
    both = _along(case, engine, tree_map(mix, a, b), dy, tree_map(mix, Rdy_a, Rdy_b))
    sizes = [np.abs(s * x).max(initial=0) + np.abs(t * y).max(initial=0) for x, y in zip(one, two, strict=True)]
    return max(_difference(both[i], mix(one[i], two[i]), sizes[i]) for i in (1, 2))


def null_direction(case: Case, engine: Engine, rng: np.random.Generator) -> float:
    """Return the larger relative error of Ry = 0 and <dz, n> = 0 along the null direction n."""
    dy = _cotangent(case, engine, rng)
    other = draw(rng, case.z)
    dz, Ry, _ = _along(case, engine, case.null, dy, dy)
    Ry_other = _along(case, engine, other, dy, dy)[1]
    n = flat(case.null)
    angle = abs(dz @ n) / (np.linalg.norm(dz) * np.linalg.norm(n))
    return max(_difference(Ry, np.zeros_like(Ry), np.abs(Ry_other).max()), float(angle))


@dataclass(frozen=True)
class Law:
    """A checker and what it must return."""

    check: Callable[[Case, Engine, np.random.Generator], float]
    is_slope: bool
    limit: float

    def holds(self, number: float) -> bool:
        """Whether the number passes; NaN does not."""
        return number >= self.limit if self.is_slope else number <= self.limit


# Errors are relative to the sum of the terms' sizes, so rounding alone gives 1e-16 .. 1e-14 in float64; the slope of a
# wrong derivative is 1, that of a right one 2 up to third-order terms.
LAWS: dict[str, Law] = {
    "adjoint": Law(adjoint, False, 1e-13),
    "taylor 1": Law(taylor_1, True, 1.9),
    "taylor 2": Law(taylor_2, True, 1.9),
    "symmetry": Law(symmetry, False, 1e-13),
    "linearity": Law(linearity, False, 1e-12),
    "null direction": Law(null_direction, False, 1e-12),
}
