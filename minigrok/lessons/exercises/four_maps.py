"""Lesson 3: the backward map of a layer that scales each channel."""

from collections.abc import Iterator

import numpy as np

from minigrok.engine import Array, open_engine
from minigrok.gradcheck.laws import LAWS, Case
from minigrok.lessons.findings import Finding, Names, array, call, several, usual

SUFFIX = ".py"
N, D = 5, 3  # rows and channels: different, so that a wrong axis shows

START = '''"""Lesson 3. The layer `scale`: every channel c has a factor of its own, y_ic = gain_c x_ic."""

import numpy as np


def forward(gain, x):
    """Return y (N, D); gain (D,), x (N, D)."""
    return gain * x


def r_forward(gain, x, Rgain, Rx):
    """Return Ry (N, D), the derivative of y along (Rgain, Rx)."""
    return Rgain * x + gain * Rx


def backward(gain, x, dy):
    """Return (dgain, dx), the derivatives of a loss by gain and x, of which dy (N, D) is the one by y."""
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield what adjoint and Taylor say of `backward`, part by part."""
    rng = np.random.default_rng(3)
    gain, x, dy = rng.standard_normal(D), rng.standard_normal((N, D)), rng.standard_normal((N, D))
    dgain, dx = _backward(names, gain, x, dy)
    for name, got, wanted in (("dgain", dgain, (dy * x).sum(0)), ("dx", dx, dy * gain)):
        number = _adjoint(names, name)
        holds = LAWS["adjoint"].holds(number)
        hint = "" if holds else _meaning(name, got, wanted, x, gain, dy)
        yield Finding(f"adjoint of {name}: <dy, Ry> = <d, R>", holds, f"error {number:.1e}", hint)
    case = Case(
        "scale",
        (gain, x),
        lambda engine, z: (np.array([np.vdot(dy, z[0] * z[1])]), None),
        lambda engine, z, tape, w: (z, None),
        lambda engine, z, tape, Rz: (sum_of_products(_backward(names, z[0], z[1], dy), Rz), None),
        lambda engine, z, tape, dtape, Rz, rtape, Rw: z,
    )
    slope = LAWS["taylor 1"].check(case, open_engine("plain", "float64"), rng)
    holds = LAWS["taylor 1"].holds(slope)
    hint = "" if holds else "slope 1: the loss does not change by <dgain, h Rgain> + <dx, h Rx> when you move by h"
    yield Finding("Taylor: what remains shrinks as h^2", holds, f"slope {slope:.2f}", hint)


def sum_of_products(parts: tuple[Array, ...], others: tuple[Array, ...]) -> Array:
    """Return <parts, others> as an array of one number."""
    return np.array([sum(np.vdot(a, b) for a, b in zip(parts, others, strict=True))])


def _backward(names: Names, gain: Array, x: Array, dy: Array) -> tuple[Array, Array]:
    dgain, dx = several("backward", call(names, "backward", gain.copy(), x.copy(), dy.copy()), 2)
    shape = np.shape(dgain)
    why = (
        "every row pulls at the same gain: sum over the rows, .sum(axis=0)"
        if shape == x.shape
        else "that is a sum over the channels, the wrong axis: sum over the rows, .sum(axis=0)"
        if shape == (N,)
        else "dgain has the shape of gain: sum over the rows, and over nothing else"
    )
    return array("dgain", dgain, gain.shape, why), array("dx", dx, x.shape, "dx has the shape of x")


def _adjoint(names: Names, name: str) -> float:
    """Return the error of the law where only `name` moves, with the R-forward map of this file."""
    rng = np.random.default_rng(4)

    def r_value(engine: object, z: tuple[Array, Array], tape: None, Rz: tuple[Array, Array]) -> tuple[Array, None]:
        return Rz[0] * z[1] + z[0] * Rz[1], None

    z = rng.standard_normal(D), rng.standard_normal((N, D))
    case = Case(
        name,
        z,
        lambda engine, z: (z[0] * z[1], None),
        lambda engine, z, tape, dy: (_only(name, _backward(names, z[0], z[1], dy)), None),
        lambda engine, z, tape, Rz: r_value(engine, z, tape, _only(name, Rz)),
        lambda engine, z, tape, dtape, Rz, rtape, Rdy: z,
    )
    return LAWS["adjoint"].check(case, open_engine("plain", "float64"), rng)


def _only(name: str, pair: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the pair with zeros for the other part."""
    return (pair[0], np.zeros_like(pair[1])) if name == "dgain" else (np.zeros_like(pair[0]), pair[1])


def _meaning(name: str, got: Array, wanted: Array, x: Array, gain: Array, dy: Array) -> str:
    if name == "dx":
        if np.allclose(got, dy):
            return "dx = dy forgets the gain: backward is not the transpose of forward"
        if np.allclose(got, x * dy) or np.allclose(got, x):
            return "the derivative of gain x by x is gain, not x"
        return usual(got, wanted, {-1.0: "the sign is wrong"}, lambda: "dx_ic = gain_c dy_ic: look at the factor of dy")
    if np.allclose(got, dy.sum(0)):
        return "that is the gradient of a bias: y_ic = gain_c x_ic, so each dy_ic comes with its x_ic"
    if np.allclose(got, x.sum(0)):
        return "dy is missing: a derivative of the loss has dy in every term"
    meanings = {1 / N: "a mean over the rows where a sum belongs: each row adds its pull", -1.0: "the sign is wrong"}
    return usual(got, wanted, meanings, lambda: "look at the sum over rows: dgain_c = sum_i dy_ic x_ic")
