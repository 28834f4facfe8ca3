"""Lesson 9: an intervention as a pair of factors, and its twin under AdamW."""

from collections.abc import Iterator

import numpy as np

from minigrok.config import Optimiser
from minigrok.engine import Array, open_engine
from minigrok.lessons.findings import Finding, Names, call, number, several
from minigrok.training.optim import AdamW, norm

SUFFIX = ".py"
SIZE, STEPS = 64, 40
DOSE = 0.25  # at which factors are looked at; at 1/2 two mistakes look alike
EXACT = 0.5  # at which bits are: a product with a power of two is exact

START = '''"""Lesson 9. An intervention replaces the gradient g by a g + b P g; P projects on a plane."""


def removal(s):
    """Return (a, b) so that the part of g inside the plane is multiplied by 1 - s, and the rest stays."""
    ...


def twin(s):
    """Return another (a, b), with which AdamW does the same to the last bit at s = 1/2, while the part inside stays.

    AdamW divides out a factor that all gradients share.
    """
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield what both pairs do inside and outside a plane, and the bits that AdamW makes of them."""
    pairs = {name: _pair(names, name, DOSE) for name in ("removal", "twin")}
    wanted = {"removal": (1.0, 1 - DOSE), "twin": (None, 1.0)}
    for name, (outside, inside) in wanted.items():
        a, b = pairs[name]
        got_outside, got_inside = a, a + b
        holds = got_inside == inside and outside in (None, got_outside)
        got = f"outside times {got_outside:g}, inside times {got_inside:g}"
        yield Finding(_law(name), holds, got, "" if holds else _meaning(name, got_outside, got_inside))
    zero = _pair(names, "removal", 0.0)
    yield Finding(
        "dose 0 changes nothing", zero == (1, 0), f"a, b = {zero}", "" if zero == (1, 0) else "(1, 0) is g itself"
    )
    differ = pairs["removal"] != pairs["twin"]
    yield Finding(
        "the twin is another pair", differ, "yes" if differ else "no", "" if differ else "multiply both by one factor"
    )
    paths = [_path(*_pair(names, name, EXACT)) for name in ("removal", "twin")]
    same = int((paths[0] == paths[1]).sum())
    hint = f"(a, b) and (c a, c b) are one intervention under AdamW: here a {_ratios(pairs)}"
    yield Finding("equal bits", same == SIZE, f"{same} of {SIZE} weights", "" if same == SIZE else hint)


def _pair(names: Names, name: str, s: float) -> tuple[float, float]:
    a, b = several(name, call(names, name, s), 2)
    return number("a", a), number("b", b)


def _law(name: str) -> str:
    return "removal: inside times 1 - s, outside times 1" if name == "removal" else "twin: inside times 1"


def _meaning(name: str, outside: float, inside: float) -> str:
    if name == "twin":
        return "divide both numbers of removal by 1 - s: then inside is 1, and outside 1 / (1 - s)"
    if inside == 1 and outside == 1 - DOSE:
        return "that is deletion: it shrinks the part outside. g = P g + (g - P g): which of them do you change?"
    if inside == outside:
        return "that is scaling: b is missing, so inside and outside get one factor"
    if inside == 1 + DOSE:
        return "the sign of b: inside gets a + b"
    if inside == 1 - DOSE + outside:
        return "b is what is added to a, not the factor inside: inside gets a + b"
    return "outside gets a, inside gets a + b: solve a = 1, a + b = 1 - s"


def _ratios(pairs: dict[str, tuple[float, float]]) -> str:
    (a, b), (c, d) = pairs["removal"], pairs["twin"]
    return f"has the factor {c / a if a else float('nan'):.3g}, and b {d / b if b else float('nan'):.3g}"


def _path(a: float, b: float) -> Array:
    """Return theta after AdamW's steps on a quadratic loss, its gradient replaced; no eps, no clipping."""
    rng, engine = np.random.default_rng(9), open_engine("plain", "float64")
    theta, curvature = rng.standard_normal(SIZE), 1 + rng.random(SIZE)
    unit = rng.standard_normal(SIZE)
    unit /= np.linalg.norm(unit)
    adamw = AdamW(Optimiser(learning_rate=0.01, eps=1e-300, clip_norm=1e300), engine, SIZE)
    for _ in range(STEPS):
        g = curvature * theta
        given = a * g + b * (unit * (unit @ g))
        adamw.step(theta, given, norm(engine, given))
    return theta
