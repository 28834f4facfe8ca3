"""Attention at the edge: huge scores, one token, and equality with the formula written as products."""

from __future__ import annotations

import numpy as np
import pytest

from minigrok.engine import ENGINES, Array, open_engine
from minigrok.layers import attention

DTYPES = ["float32", "float64"]
B, U, T, H, K = 3, 2, 4, 2, 3


def draw(T: int, dtype: str, scale: float = 1.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    q, kv = rng.standard_normal((B, U, H, K)), rng.standard_normal((B, T, 2, H, K))
    q *= scale
    return q.astype(dtype), kv.astype(dtype)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("T", [1, 2, 4])
def test_forward_is_the_formula(engine: str, T: int) -> None:
    q, kv = draw(T, "float64")
    y, tape = attention.forward(open_engine(engine, "float64"), q, kv)
    scores = np.einsum("buhk,bthk->bhut", q, kv[:, :, 0]) / np.sqrt(K)
    p = np.exp(scores) / np.exp(scores).sum(axis=3, keepdims=True)
    assert np.allclose(tape.p, p, rtol=1e-14, atol=0)
    assert np.allclose(y, np.einsum("bhut,bthk->buhk", p, kv[:, :, 1]), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_token_is_looked_at_whatever_it_is(engine: str, dtype: str) -> None:
    q, kv = draw(1, dtype)
    machine = open_engine(engine, dtype)
    y, tape = attention.forward(machine, q, kv)
    assert np.array_equal(y, np.broadcast_to(kv[:, :, 1], y.shape))
    (dq, dkv), _ = attention.backward(machine, tape, np.ones_like(y))
    assert not dq.any()
    assert not dkv[:, :, 0].any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e4, 1e8])
def test_huge_scores_choose_one_token(engine: str, dtype: str, scale: float) -> None:
    """Finite in all four maps, though exp(score) is not; a hard choice has no slope."""
    q, kv = draw(T, dtype, scale)
    machine = open_engine(engine, dtype)
    y, tape = attention.forward(machine, q, kv)
    chosen = np.einsum("buhk,bthk->bhut", q, kv[:, :, 0]).argmax(axis=3)
    assert np.array_equal(tape.p.argmax(axis=3), chosen)
    assert np.allclose(tape.p.sum(axis=3), 1, rtol=1e-6)
    (dq, dkv), dtape = attention.backward(machine, tape, np.ones_like(y))
    Ry, rtape = attention.r_forward(machine, tape, q, kv)
    Rdq, Rdkv = attention.r_backward(machine, tape, dtape, rtape, np.ones_like(y))
    assert all(np.isfinite(a).all() for a in (y, dq, dkv, Ry, Rdq, Rdkv))
    if scale == 1e8:
        assert set(np.unique(tape.p)) == {0, 1}
        assert not dq.any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_number_stays_in_its_pair(engine: str, bad: float) -> None:
    """Pairs share nothing, so the others keep their bits; the broken one must show."""
    q, kv = draw(T, "float64")
    machine = open_engine(engine, "float64")
    whole = attention.forward(machine, q, kv)[0].copy()
    q[1, 0, 1, 2] = bad
    with np.errstate(all="ignore"):
        y = attention.forward(machine, q, kv)[0]
    assert not np.isfinite(y[1, 0, 1]).any()
    y[1, 0, 1] = whole[1, 0, 1]
    assert np.array_equal(y, whole)
