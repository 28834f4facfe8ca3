"""The savings of the network change nothing but the time, and its initial state is the paper's."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from minigrok.config import Config, Model, Task, with_settings
from minigrok.engine import Array, Engine, open_engine
from minigrok.network import model
from minigrok.network.params import initial, layout


class Maps(NamedTuple):
    """What the four maps return."""

    logits: Array  # (n_tasks, B, V)
    grad: Array  # (P,)
    Rlogits: Array  # (n_tasks, B, V)
    Hv: Array  # (P,)


def small(blocks: int) -> Config:
    task, shape = Task(p=7, exclude_zero=False), Model(width=6, heads=2, mlp_width=5, blocks=blocks)
    return Config("small", task=task, model=shape)


def four_maps(config: Config, engine: Engine, tokens: Array, savings: bool) -> Maps:
    """Run the network at random weights, with random cotangents of logits and of R{logits}."""
    parts, rng = layout(config), np.random.default_rng(0)
    theta, v = 0.5 * rng.standard_normal((2, parts.size))
    dlogits, Rdlogits = rng.standard_normal((2, 2, len(tokens), config.task.p))
    grad, Hv = np.full((2, parts.size), np.nan)

    def weights(flat: Array) -> model.Weights:
        return model.weights(parts.views(flat), config)

    w, Rw, rows = weights(theta), weights(v), model.plan(config, tokens, savings)
    logits, tape = model.forward(engine, w, rows)
    dtape = model.backward(engine, w, rows, tape, list(dlogits.copy()), weights(grad))
    Rlogits, rtape = model.r_forward(engine, w, rows, tape, Rw)
    model.r_backward(engine, w, rows, tape, dtape, Rw, rtape, list(Rdlogits), weights(Hv))
    return Maps(np.stack(logits), grad, np.stack(Rlogits), Hv)


def worst(a: Maps, b: Maps) -> float:
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("engine", ["plain", "cpu"])
@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("B", [1, 2, 6, 7, 8, 49, 100])  # the table pays from B = p = 7 on
def test_savings_change_nothing(engine: str, blocks: int, B: int) -> None:
    config, tokens = small(blocks), np.random.default_rng(B).integers(0, 7, (B, 2))
    with_savings, without = (
        four_maps(config, open_engine(engine, "float64"), tokens, savings) for savings in (True, False)
    )
    assert worst(with_savings, without) < 1e-13


def test_the_comparison_sees_a_wrong_row() -> None:
    config, tokens = small(2), np.random.default_rng(0).integers(0, 7, (8, 2))
    engine, other = open_engine("plain", "float64"), tokens.copy()
    other[3, 1] = (other[3, 1] + 1) % 7
    assert worst(four_maps(config, engine, tokens, True), four_maps(config, engine, other, False)) > 1e-3


@pytest.mark.parametrize(("B", "table"), [(6, False), (7, True), (100, True)])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_savings_are_made(B: int, table: bool, blocks: int) -> None:
    """Rows that each part sees: 2 p instead of 2 B in the first block, B instead of 2 B after the last attention."""
    config, tokens = small(blocks), np.random.default_rng(B).integers(0, 7, (B, 2))
    parts = layout(config)
    w = model.weights(parts.views(np.ones(parts.size)), config)
    _, tape = model.forward(open_engine("plain", "float64"), w, model.plan(config, tokens))
    rows = [(attend.norm.n.shape[0], mlp.norm.n.shape[0]) for attend, mlp in tape.blocks]
    expected = [(2 * B, 2 * B)] * blocks
    expected[0] = (14 if table else 2 * B, 2 * B)
    expected[-1] = (expected[-1][0], B)
    assert rows == expected


def test_backward_without_gradient_gives_the_same_cotangents() -> None:
    """`hvp` needs the cotangents alone: what they are does not depend on whether the gradient is wanted."""
    config, tokens = small(2), np.random.default_rng(0).integers(0, 7, (9, 2))
    parts, rng = layout(config), np.random.default_rng(0)
    w = model.weights(parts.views(rng.standard_normal(parts.size)), config)
    rows, tapes = model.plan(config, tokens), []
    for dw in (None, model.weights(parts.views(np.empty(parts.size)), config)):
        engine = open_engine("plain", "float64")
        _, tape = model.forward(engine, w, rows)
        dlogits = [np.ones((9, 7)), -np.ones((9, 7))]
        tapes.append(model.backward(engine, w, rows, tape, dlogits, dw))
    assert_same(*tapes)


def assert_same(a: object, b: object) -> None:
    if isinstance(a, tuple) and isinstance(b, tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert np.array_equal(np.asarray(a), np.asarray(b))


def block_outputs(config: Config) -> list[Array]:
    """What each block of the initial network makes of one fixed input."""
    from minigrok.network import block

    engine, parts, theta = open_engine("plain", "float64"), layout(config), initial(config).astype(np.float64)
    w, rows = model.weights(parts.views(theta), config), block.Rows(2, 2, None, None, 1e-5)
    x, outputs = np.random.default_rng(0).standard_normal((4, 6)), []
    for attend, mlp in w.blocks:
        y, _ = block.attend_forward(engine, attend, rows, x)
        outputs.append(block.mlp_forward(engine, mlp, 1e-5, y)[0])
    return outputs


def test_blocks_start_identical_unless_asked() -> None:
    """The trap of nn.TransformerEncoder, which copies one layer; init.identical_blocks = false undoes it."""
    first, second, third = block_outputs(small(3))
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    first, second, third = block_outputs(with_settings(small(3), ["init.identical_blocks=false"]))
    assert not np.allclose(first, second)
    assert not np.allclose(second, third)


@pytest.mark.parametrize("change", [lambda t: t[:, ::-1], lambda t: (t + 1) % 7])
def test_tokens_and_their_order_matter(change: Callable[[Array], Array]) -> None:
    config, engine = small(2), open_engine("plain", "float64")
    tokens = np.array([[1, 2], [3, 5]])
    a, b = (four_maps(config, engine, t, True).logits for t in (tokens, change(tokens)))
    assert np.abs(a - b).max() > 1e-3
