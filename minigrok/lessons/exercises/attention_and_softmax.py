"""Lesson 5: the two R-maps of uniform attention."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrok.engine import Array, open_engine
from minigrok.gradcheck.laws import LAWS, Case
from minigrok.lessons.findings import Finding, Names, array, call, several

SUFFIX = ".py"
U, T, K = 3, 4, 5  # queries, tokens, channels: all different, so that a wrong axis shows

START = '''"""Lesson 5. Uniform attention: every token weighs 1 / T, y_t = 1/T sum_s v_s.

q (U, K) queries, k (T, K) keys, v (T, K) values, y (U, K): every query gets the mean of the values.
"""

import numpy as np


def forward(q, k, v):
    """Return y (U, K)."""
    return np.repeat(v.mean(axis=0, keepdims=True), len(q), axis=0)


def backward(q, k, v, dy):
    """Return (dq, dk, dv)."""
    return np.zeros_like(q), np.zeros_like(k), np.repeat(dy.sum(axis=0, keepdims=True) / len(v), len(v), axis=0)


def r_forward(q, k, v, Rq, Rk, Rv):
    """Return Ry (U, K), the derivative of y along (Rq, Rk, Rv)."""
    ...


def r_backward(q, k, v, dy, Rq, Rk, Rv, Rdy):
    """Return (Rdq, Rdk, Rdv), the derivatives of dq, dk and dv along (Rq, Rk, Rv) and Rdy."""
    ...
'''

MEANS = {
    "adjoint": "Ry is not the transpose of backward",
    "taylor 1": "slope 1: Ry is not the derivative of y",
    "taylor 2": "slope 1: Rdv is not the derivative of dv. Moving dy by Rdy moves dv by what?",
    "symmetry": "a Hessian is symmetric, and yours is not: a term is there for q that is not there for v",
    "linearity": "an R-map is linear in its direction: no constant, no product of two R",
    "null direction": "queries and keys do not matter here: nothing may depend on Rq or Rk",
}


def check(names: Names) -> Iterator[Finding]:
    """Yield what each law says of the answer's R-maps beside this file's forward and backward."""
    rng, engine = np.random.default_rng(5), open_engine("plain", "float64")
    case = _case(names, rng)
    for name, law in LAWS.items():
        number = law.check(case, engine, np.random.default_rng(6))
        got = f"slope {number:.2f}" if law.is_slope else f"error {number:.1e}"
        yield Finding(name, law.holds(number), got, "" if law.holds(number) else _meaning(names, name))


def _case(names: Names, rng: np.random.Generator) -> Case:
    z = rng.standard_normal((U, K)), rng.standard_normal((T, K)), rng.standard_normal((T, K))

    def backward(dy: Array) -> tuple[Array, Array, Array]:
        return np.zeros((U, K)), np.zeros((T, K)), np.repeat(dy.sum(0, keepdims=True) / T, T, axis=0)

    return Case(
        "uniform attention",
        z,
        lambda engine, z: (np.repeat(z[2].mean(0, keepdims=True), U, axis=0), None),
        lambda engine, z, tape, dy: (backward(dy), dy),
        lambda engine, z, tape, Rz: (_r_forward(names, z, Rz), None),
        lambda engine, z, tape, dy, Rz, rtape, Rdy: _r_backward(names, z, dy, Rz, Rdy),
        (rng.standard_normal((U, K)), rng.standard_normal((T, K)), np.zeros((T, K))),
    )


def _r_forward(names: Names, z: Any, Rz: Any) -> Array:
    why = "every query gets the same Ry: repeat it for all U of them"
    return array("Ry", call(names, "r_forward", *z, *Rz), (U, K), why)


def _r_backward(names: Names, z: Any, dy: Array, Rz: Any, Rdy: Array) -> tuple[Array, ...]:
    parts = several("r_backward", call(names, "r_backward", *z, dy, *Rz, Rdy), 3)
    why = "every token gets the sum over the queries: .sum(axis=0), then the same for all T tokens"
    return tuple(
        array(name, part, shape, why)
        for name, part, shape in zip(("Rdq", "Rdk", "Rdv"), parts, ((U, K), (T, K), (T, K)), strict=True)
    )


def _meaning(names: Names, law: str) -> str:
    """Return what a broken law means here, by trying what is often written."""
    rng = np.random.default_rng(7)
    z = [rng.standard_normal(shape) for shape in ((U, K), (T, K), (T, K))]
    Rz = [rng.standard_normal(each.shape) for each in z]
    dy, Rdy = rng.standard_normal((U, K)), rng.standard_normal((U, K))
    Ry, Rdv = _r_forward(names, z, Rz), _r_backward(names, z, dy, Rz, Rdy)[2]
    tried = (
        (Ry, Rz[2].sum(0), "the mean of the Rv, not their sum: 1/T is missing in Ry"),
        (Ry, z[2].mean(0), "that is y itself: v where Rv belongs"),
        (Rdv, Rdy.sum(0), "1/T is missing in Rdv"),
        (Rdv, Rdy.mean(0), "a mean over the queries: the sum is over the U queries, and the factor is 1/T"),
        (Rdv, dy.sum(0) / T, "that is dv itself: dy where Rdy belongs"),
        (Rdv, (dy + Rdy).sum(0) / T, "dy does not belong in Rdv: it is the point, and Rdy is the direction"),
    )
    found = [words for got, wrong, words in tried if np.allclose(got, wrong)]
    return f"{MEANS[law]}: {found[0]}" if found else MEANS[law]
