"""Lesson 8: a null model of a trajectory, and the share of its first principal component."""

import math
from collections.abc import Iterator

import numpy as np

from minigrok.engine import Array
from minigrok.lessons.findings import Finding, Names, array, call, number

SUFFIX = ".py"
T, N = 200, 2000  # steps and dimensions
WALK = 6 / math.pi**2  # Antognini & Sohl-Dickstein 2018

START = '''"""Lesson 8. A path that learns nothing, and how low-dimensional it looks."""

import numpy as np


def walk(T, n, rng):
    """Return the points (T + 1, n) of a random walk from 0: each step is rng.standard_normal(n)."""
    ...


def pc1_share(X):
    """Return the share of the variance of the points X (T, n) that is along their first principal component."""
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield laws of the walk, laws of the share, and 6 / pi^2."""
    rng = np.random.default_rng(8)
    why = "T + 1 points: the start, and one after each step"
    X = array("walk", call(names, "walk", T, N, rng), (T + 1, N), why)
    other = array("walk", call(names, "walk", T, N, rng), (T + 1, N), why)
    steps = np.diff(X, axis=0)
    yield from _walks(X, steps, other)
    yield from _shares(names)
    share = _share(names, X)
    holds = abs(share - WALK) < 0.03
    hint = "" if holds else "mend the laws above first; a walk of 200 steps comes within 0.02"
    yield Finding("PC1 of a walk is 6 / pi^2 = 0.608", holds, f"{share:.3f}", hint)


def _walks(X: Array, steps: Array, other: Array) -> Iterator[Finding]:
    zero = not X[0].any()
    yield Finding(
        "it starts at 0", zero, f"|x_0| = {np.linalg.norm(X[0]):.2g}", "" if zero else "put a row of zeros first"
    )
    differs = not np.allclose(X, other)
    hint = "draw from the rng that you are given, and set no seed"
    yield Finding("two walks differ", differs, "yes" if differs else "no", "" if differs else hint)
    mean = float(np.linalg.norm(steps.mean(0)) / np.sqrt((steps**2).sum(1).mean() / T))
    hint = (
        "the steps have a mean: that is a straight line, which has one dimension. Draw normal numbers, not uniform ones"
    )
    yield Finding("steps have no mean", mean < 1.2, f"{mean:.2f} of chance", "" if mean < 1.2 else hint)
    norms = np.linalg.norm(steps, axis=1)
    cosines = (steps[1:] * steps[:-1]).sum(1) / np.maximum(norms[1:] * norms[:-1], 1e-300)
    cosine = float(cosines.mean())
    white = cosine < -0.3
    hint = (
        "each step undoes half of the last: these are points of noise. A walk adds its steps: np.cumsum(..., axis=0)"
        if white
        else "each step repeats the last one: draw every step anew, n numbers each"
    )
    holds = abs(cosine) < 0.05
    yield Finding("steps do not know one another", holds, f"cosine {cosine:.2f}", "" if holds else hint)


def _shares(names: Names) -> Iterator[Finding]:
    rng = np.random.default_rng(9)
    line = np.outer(np.arange(6.0), rng.standard_normal(7))
    got = _share(names, line)
    holds = abs(got - 1) < 1e-9
    yield Finding(
        "a straight line has share 1", holds, f"{got:.4f}", "" if holds else "its variance is along one direction"
    )
    cross = np.array([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]])
    got = _share(names, cross)
    holds = abs(got - 0.8) < 1e-9
    hint = (
        "variance is a square: singular values squared, over the sum of their squares"
        if abs(got - 2 / 3) < 1e-6
        else ""
    )
    yield Finding(
        "4 : 1 has share 0.8", holds, f"{got:.4f}", "" if holds else hint or "first eigenvalue over their sum"
    )
    moved = _share(names, cross + 10.0)
    holds = abs(moved - got) < 1e-9
    hint = "subtract the mean of the points first: else the way from 0 to them counts as variance"
    yield Finding("moving all points changes nothing", holds, f"{moved:.4f}", "" if holds else hint)


def _share(names: Names, X: Array) -> float:
    return number("pc1_share", call(names, "pc1_share", X.copy()))
