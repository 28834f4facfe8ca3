"""Uniform attention is softmax attention whose queries are 0, and its queries and keys have no gradient at all."""

import numpy as np
import pytest

from minigrok.engine import ENGINES, Array, Engine, open_engine
from minigrok.layers import attention, uniform
from minigrok.layers.attention import VALUE

SHAPES = [(1, 1, 1, 1, 1), (3, 2, 1, 2, 5), (4, 3, 3, 2, 4)]  # B, T, U, H, K


def drawn(B: int, T: int, U: int, H: int, K: int) -> list[Array]:
    rng = np.random.default_rng(0)
    q, kv = (B, U, H, K), (B, T, 2, H, K)
    return [rng.standard_normal(shape) for shape in (q, kv, q, kv, q, q)]


def maps(layer, engine: Engine, q, kv, Rq, Rkv, dy, Rdy) -> list[Array]:
    """y, dq, dkv, Ry, Rdq, Rdkv."""
    y, tape = layer.forward(engine, q, kv)
    (dq, dkv), dtape = layer.backward(engine, tape, dy)
    Ry, rtape = layer.r_forward(engine, tape, Rq, Rkv)
    return [y, dq, dkv, Ry, *layer.r_backward(engine, tape, dtape, rtape, Rdy)]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_softmax_attention_without_scores(name: str, shape: tuple[int, ...]) -> None:
    q, kv, _, Rkv, dy, Rdy = drawn(*shape)
    zero, silent, Rsilent = np.zeros_like(q), kv.copy(), Rkv.copy()
    silent[:, :, 0] = Rsilent[:, :, 0] = 0
    engine = open_engine(name, "float64")
    found = maps(uniform, engine, q, kv, q, Rkv, dy, Rdy)
    expected = maps(attention, engine, zero, silent, zero, Rsilent, dy, Rdy)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-14)
    if shape[1] > 1:
        other = maps(attention, engine, q, kv, zero, Rsilent, dy, Rdy)
        assert np.abs(other[0] - found[0]).max() > 0.01, "with scores it is another layer"


@pytest.mark.parametrize("name", ENGINES)
def test_queries_and_keys_have_no_gradient_to_the_last_bit(name: str) -> None:
    _, dq, dkv, _, Rdq, Rdkv = maps(
        uniform, open_engine(name, "float32"), *(x.astype("f4") for x in drawn(3, 2, 2, 2, 4))
    )
    assert not any(x.any() for x in (dq, dkv[:, :, 0], Rdq, Rdkv[:, :, 0]))
    assert dkv[:, :, VALUE].any()
    assert Rdkv[:, :, VALUE].any()
