"""Embedding, selection, linear and projection against NumPy's indexing and products, gaps and repeats included."""

from __future__ import annotations

import numpy as np
import pytest

from minigrok.engine import ENGINES, Array, open_engine
from minigrok.layers import embedding, linear, projection, select
from minigrok.layers.embedding import Embedding
from minigrok.layers.linear import Linear
from minigrok.layers.select import Selection, selection

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def test_embedding_is_token_plus_position(engine: str) -> None:
    machine, w = open_engine(engine, "float64"), Embedding(normal(2, 3), normal(5, 3))
    x = embedding.forward(machine, w)
    assert np.array_equal(x.reshape(2, 5, 3), w.position[:, None] + w.token[None])
    dw, dx = Embedding(np.full((2, 3), np.nan), np.full((5, 3), np.nan)), normal(10, 3)
    embedding.backward(machine, dx, dw)
    assert np.allclose(dw.token, dx.reshape(2, 5, 3).sum(axis=0), rtol=1e-14)
    assert np.allclose(dw.position, dx.reshape(2, 5, 3).sum(axis=1), rtol=1e-13)


@pytest.mark.parametrize("index", [[0], [3, 3, 3, 3], [4, 0, 4, 2], [0, 1, 2, 3, 4], [2] * 40])
def test_select_is_indexing(engine: str, index: list[int]) -> None:
    machine, rows, x, dy = (
        open_engine(engine, "float64"),
        selection(np.array(index), 5),
        normal(5, 3),
        normal(len(index), 3),
    )
    assert np.array_equal(select.forward(machine, rows, x), x[index])
    dx = np.zeros((5, 3))
    np.add.at(dx, index, dy)  # adds in the order of the index, as the owner of a row does
    assert np.array_equal(select.backward(machine, rows, dy), dx)
    assert rows.shrinks == (len(index) < 5)


def test_select_nothing_returns_the_array_itself(engine: str) -> None:
    machine, x = open_engine(engine, "float64"), normal(5, 3)
    assert select.forward(machine, None, x) is x
    assert select.backward(machine, None, x) is x


def test_linear_is_pytorchs(engine: str) -> None:
    machine, w, x, dy = open_engine(engine, "float64"), Linear(normal(4, 3), normal(4)), normal(6, 3), normal(6, 4)
    y, tape = linear.forward(machine, w, x)
    assert np.allclose(y, x @ w.weight.T + w.bias, rtol=1e-14)
    dw = Linear(np.full((4, 3), np.nan), np.full(4, np.nan))
    dx, _ = linear.backward(machine, w, tape, dy, dw)
    assert np.allclose(dx, dy @ w.weight, rtol=1e-13)
    assert np.allclose(dw.weight, dy.T @ x, rtol=1e-13)
    assert np.allclose(dw.bias, dy.sum(axis=0), rtol=1e-13)


@pytest.mark.parametrize("rows", [None, selection(np.array([1, 1]), 5), selection(np.array([0, 4, 4, 1, 2, 2, 0]), 5)])
def test_projection_takes_the_order_with_fewer_rows(engine: str, rows: Selection | None) -> None:
    machine, w, x = open_engine(engine, "float64"), Linear(normal(4, 3), normal(4)), normal(5, 3)
    y, tape = projection.forward(machine, w, rows, x)
    index = np.arange(5) if rows is None else rows.index
    assert np.allclose(y, x[index] @ w.weight.T + w.bias, rtol=1e-14)
    assert len(tape) == min(len(index), 5)
