"""On rows without a mean the sphere is LayerNorm of gain 1 / sqrt D, map by map; cosine logits forget every length."""

import numpy as np
import pytest

from minigrok.engine import ENGINES, Array, open_engine
from minigrok.layers import cosine, layernorm, sphere
from minigrok.layers.cosine import Cosine
from minigrok.layers.layernorm import Norm

N, D = 5, 7


def centred(seed: int) -> list[Array]:
    """x, dy, Rx, Rdy (N, D), no row with a mean."""
    drawn = np.random.default_rng(seed).standard_normal((4, N, D))
    return list(drawn - drawn.mean(axis=2, keepdims=True))


@pytest.mark.parametrize("name", ENGINES)
def test_it_is_layernorm_without_mean_and_gain(name: str) -> None:
    engine, (x, dy, Rx, Rdy) = open_engine(name, "float64"), centred(0)
    y, tape = sphere.forward(engine, x)
    dx, dtape = sphere.backward(engine, tape, dy)
    Ry, rtape = sphere.r_forward(engine, tape, Rx)
    found = [y, dx, Ry, sphere.r_backward(engine, tape, dtape, rtape, Rdy)]
    w, none, dw = Norm(np.full(D, D**-0.5), np.zeros(D)), Norm(np.zeros(D), np.zeros(D)), Norm(np.empty(D), np.empty(D))
    y, ln = layernorm.forward(engine, w, x, 0.0)
    dx, dln = layernorm.backward(engine, w, ln, dy, None)
    Ry, rln = layernorm.r_forward(engine, w, ln, none, Rx)
    expected = [y, dx, Ry, layernorm.r_backward(engine, w, ln, dln, none, rln, Rdy, dw)]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-13)
    assert np.abs(sphere.forward(engine, x + 1)[0] - y).max() > 0.01, "a mean is kept"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_have_length_1_and_a_row_of_zeros_stays(dtype: str) -> None:
    engine, x = open_engine("cpu", dtype), np.random.default_rng(1).standard_normal((N, D)).astype(dtype)
    x[2], x[3] = 0, 1e9 * x[3]
    y, tape = sphere.forward(engine, x)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), [1, 1, 0, 1, 1], rtol=4 * np.finfo(dtype).eps)
    assert np.isfinite(sphere.backward(engine, tape, x)[0]).all()


@pytest.mark.parametrize("name", ENGINES)
def test_cosine_logits_are_ten_cosines(name: str) -> None:
    engine, rng = open_engine(name, "float64"), np.random.default_rng(2)
    W, z = rng.standard_normal((4, D)), sphere.forward(engine, rng.standard_normal((N, D)))[0].copy()
    y = cosine.forward(engine, Cosine(W), z)[0]
    np.testing.assert_allclose(y, 10 * z @ (W / np.linalg.norm(W, axis=1, keepdims=True)).T, rtol=0, atol=1e-13)
    longer = cosine.forward(engine, Cosine(3 * W), z)[0]
    np.testing.assert_allclose(longer, y, rtol=0, atol=1e-13)
    assert np.abs(cosine.forward(engine, Cosine(W + 1), z)[0] - y).max() > 0.01
