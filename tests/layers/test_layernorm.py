"""LayerNorm at the edge: constant rows, large means, and an eps that acts in all four maps."""

from __future__ import annotations

import numpy as np
import pytest

from minigrok.engine import ENGINES, Array, open_engine
from minigrok.layers import layernorm
from minigrok.layers.layernorm import Norm

D = 5


def four_maps(engine: str, x: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """y, dx, Ry and Rdx along one fixed direction."""
    machine, rng = open_engine(engine, x.dtype), np.random.default_rng(0)
    gain, shift, Rgain, Rshift = rng.standard_normal((4, D)).astype(x.dtype)
    dy, Rx, Rdy = rng.standard_normal((3, *x.shape)).astype(x.dtype)
    w, Rw, dw, Rdw = Norm(gain, shift), Norm(Rgain, Rshift), *(Norm(*np.empty((2, D), x.dtype)) for _ in "ab")
    y, tape = layernorm.forward(machine, w, x, eps)
    dx, dtape = layernorm.backward(machine, w, tape, dy, dw)
    Ry, rtape = layernorm.r_forward(machine, w, tape, Rw, Rx)
    return y, dx, Ry, layernorm.r_backward(machine, w, tape, dtape, Rw, rtape, Rdy, Rdw)


@pytest.mark.parametrize("engine", ENGINES)
def test_eps_acts_in_all_four_maps(engine: str) -> None:
    """A row of spread 3e-3 has a variance near eps = 1e-5: each map changes by a factor if eps does."""
    x = 3e-3 * np.random.default_rng(1).standard_normal((4, D))
    for a, b in zip(four_maps(engine, x, 1e-5), four_maps(engine, x, 4e-5), strict=True):
        assert np.abs(a - b).max() > 0.1 * np.abs(b).max()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_row_is_finite_and_goes_to_the_shift(engine: str, dtype: str) -> None:
    """0 / sqrt(0 + eps) = 0, and the derivative is 1 / sqrt(eps): large, not infinite."""
    y, dx, Ry, Rdx = four_maps(engine, np.full((3, D), 7, dtype), 1e-5)
    assert all(np.isfinite(a).all() for a in (y, dx, Ry, Rdx))
    assert np.array_equal(y[0], y[1])
    assert np.abs(dx).max() > 10


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_mean_costs_its_rounding_once(engine: str, dtype: str) -> None:
    """A mean of 1e4 is known to 1e4 eps, and so is the output; mean(x^2) - mean(x)^2 would lose 1e8 eps."""
    real = np.dtype(dtype).type
    x = (np.arange(4 * D).reshape(4, D) ** 2 % 17 / 8).astype(dtype)  # x + 1e4 is exact
    near, far = four_maps(engine, x, 1e-5)[0], four_maps(engine, x + real(1e4), 1e-5)[0]
    assert np.abs(far - near).max() < 4 * 1e4 * np.finfo(dtype).eps


@pytest.mark.parametrize("engine", ENGINES)
def test_output_rows_are_normalised(engine: str) -> None:
    x, machine = 3 + 2 * np.random.default_rng(3).standard_normal((6, 64)), open_engine(engine, "float64")
    y, tape = layernorm.forward(machine, Norm(np.ones(64), np.zeros(64)), x, 1e-5)
    assert np.allclose(y.mean(axis=1), 0, atol=1e-15)
    assert np.allclose(y.var(axis=1), x.var(axis=1) / (x.var(axis=1) + 1e-5), rtol=1e-14)
    assert np.array_equal(y, tape.n)
