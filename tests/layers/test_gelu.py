"""GELU and its first two derivatives against the closed form, tails included."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minigrok.engine import ENGINES, Array, open_engine
from minigrok.layers import gelu

X = np.array([-1e6, -40, -9, -5, -2, -math.sqrt(2), -0.75, -1e-9, 0, 1e-9, 0.3, 1, 2, 6, 40, 1e6])


def closed_form(x: Array) -> tuple[Array, Array, Array]:
    """f, f' and f'' by libm's erfc, which keeps its digits in the left tail."""
    cdf = np.array([math.erfc(-z / math.sqrt(2)) / 2 for z in x])
    pdf = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return x * cdf, cdf + x * pdf, (2 - x * x) * pdf


def four_maps(engine: str, x: Array) -> tuple[Array, Array, Array, Array]:
    """y, and dx, Ry, Rdx for dy = Rx = 1 and Rdy = 0: f, f', f', f''."""
    machine, one = open_engine(engine, x.dtype), np.ones_like(x)
    y, tape = gelu.forward(machine, x)
    dx, dy = gelu.backward(machine, tape, one)
    Ry, Rx = gelu.r_forward(machine, tape, one)
    return y, dx, Ry, gelu.r_backward(machine, tape, dy, Rx, 0 * one)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_maps_are_the_closed_form(engine: str, dtype: str) -> None:
    """To a few eps of max(1, |x|): 1 + erf cancels in the left tail, where x cdf(x) is below 1e-5 anyway."""
    x = X.astype(dtype)
    f, slope, curvature = closed_form(x.astype(np.float64))
    y, dx, Ry, Rdx = (a[0] for a in four_maps(engine, x[None]))
    allowed = 4 * np.finfo(dtype).eps * np.maximum(1, np.abs(x))
    assert (np.abs(y - f) <= allowed).all()
    assert (np.abs(dx - slope) <= allowed).all()
    assert (np.abs(Rdx - curvature) <= allowed).all()
    assert np.array_equal(dx, Ry)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_tails_are_exact(engine: str, dtype: str) -> None:
    y, dx, _, Rdx = four_maps(engine, np.array([[40, 1e6, -40, -1e6]], dtype))
    assert y[0].tolist() == [40, 1e6, 0, 0]
    assert dx[0].tolist() == [1, 1, 0, 0]
    assert Rdx[0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("engine", ENGINES)
def test_not_a_number_stays_one(engine: str) -> None:
    with np.errstate(all="ignore"):
        assert all(np.isnan(a).all() for a in four_maps(engine, np.array([[np.nan]])))
        y = four_maps(engine, np.array([[np.inf, -np.inf]]))[0]
    assert y[0, 0] == np.inf
    assert np.isnan(y[0, 1]), "as PyTorch: -inf times 0"
