"""A recorded gradient is the gradient, whatever came between, and leaves nothing that other products could misuse."""

from __future__ import annotations

import numpy as np
import pytest

from minigrok.config import Config, preset, with_settings
from minigrok.engine import Array
from minigrok.network.evaluation import Evaluation
from minigrok.network.objective import Objective
from minigrok.network.params import initial
from minigrok.network.sharded import Sharded
from minigrok.tasks import pairs

SMALL = ["task.p=7", "model.width=12", "model.heads=3", "model.mlp_width=10", "compute.shards=2"]


def small(*settings: str) -> Config:
    return with_settings(preset("tiny"), [*SMALL, *settings])


def network(config: Config, engine: str = "cpu") -> Sharded:
    net = Sharded(config, engine, "float64", config.compute.shards)
    net.theta[:] = initial(config)
    return net


def batches(config: Config, *sizes: int) -> list[tuple[Array, Array]]:
    data, rng = pairs(config.task, 0), np.random.default_rng(0)
    rows = [rng.integers(0, len(data.tokens), size) for size in sizes]
    return [(data.tokens[r], data.targets[:, r]) for r in rows]


def step_by_step(net: Sharded, tokens: Array, targets: Array) -> tuple[Array, Array]:
    grad = np.empty_like(net.theta)
    net.load(tokens, targets)
    losses = net.forward()
    net.backward(grad)
    return losses, grad


@pytest.mark.parametrize("engine", ["plain", "cpu"])
@pytest.mark.parametrize("settings", [["model.blocks=1"], ["model.blocks=2"], ["model.blocks=2", "compute.shards=3"]])
def test_the_recorded_gradient_is_that_of_its_batch(engine: str, settings: list[str]) -> None:
    """Sizes that repeat, that change and come back, smaller than the shards and than the table of distinct rows."""
    config = small(*settings)
    recorded, plain = network(config, engine), network(config, engine)
    grad = np.empty_like(recorded.theta)
    for tokens, targets in batches(config, 20, 20, 20, 2, 2, 1, 20, 7, 7):
        losses = recorded.gradient(tokens, targets, grad)
        expected_losses, expected = step_by_step(plain, tokens, targets)
        assert np.array_equal(losses, expected_losses)
        assert np.array_equal(grad, expected)
        recorded.theta -= 0.1 * grad
        plain.theta[:] = recorded.theta


def test_an_evaluation_between_two_batches_changes_nothing() -> None:
    config = small()
    net, other = network(config), network(config)
    data, grad = pairs(config.task, 0), np.empty_like(net.theta)
    evaluation = Evaluation(net, data.tokens, data.targets)
    for tokens, targets in batches(config, 20, 20, 20):
        net.gradient(tokens, targets, grad)
        evaluation.scores()
        assert np.array_equal(grad, step_by_step(other, tokens, targets)[1])


def test_other_task_weights_are_recorded_anew() -> None:
    config = small()
    net, other = network(config), network(config)
    (first, second), grad = batches(config, 20, 20), np.empty_like(net.theta)
    net.gradient(*first, grad)
    net.task_weights = other.task_weights = np.array([1.0, 0.25])
    net.gradient(*second, grad)
    assert np.array_equal(grad, step_by_step(other, *second)[1])


def test_no_product_can_use_what_a_recording_left() -> None:
    """Its tapes would be overwritten by an evaluation."""
    config = small()
    net, grad = network(config), np.empty(network(config).theta.size)
    net.gradient(*batches(config, 20)[0], grad)
    with pytest.raises((TypeError, AttributeError)):
        net.hvp(grad)


def test_a_failure_while_recording_is_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small()
    net, other = network(config), network(config)
    (first, second), grad = batches(config, 20, 20), np.empty_like(net.theta)
    with monkeypatch.context() as broken:
        broken.setattr(net, "_backward", lambda s, wanted: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            net.gradient(*first, grad)
    net.gradient(*second, grad)
    assert np.array_equal(grad, step_by_step(other, *second)[1])


def test_products_replay_for_new_directions_and_start_anew_at_new_points() -> None:
    """Any order of Hv, G v, J v, gradients and points gives what a fresh objective gives."""
    config, rng = small(), np.random.default_rng(0)
    tokens, targets = batches(config, 20)[0]
    theta = initial(config).astype(np.float64)
    points = [theta, theta + 0.1 * rng.standard_normal(theta.size)]
    objective = Objective(config, tokens, targets)
    for _ in range(40):
        point, v = points[rng.integers(2)], rng.standard_normal(theta.size)
        name = ("hvp", "ggn_vp", "jvp")[rng.integers(3)]
        fresh = Objective(config, tokens, targets)
        if rng.integers(4) == 0:
            assert np.array_equal(objective.grad(point), fresh.grad(point))
        assert np.array_equal(getattr(objective, name)(point, v), getattr(fresh, name)(point, v))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("B", [1, 2, 3, 5])
@pytest.mark.parametrize(("p", "width", "heads", "hidden"), [(2, 6, 2, 7), (3, 15, 5, 1), (5, 33, 3, 17), (7, 1, 1, 1)])
def test_odd_shapes_are_those_of_the_plain_engine(
    p: int, width: int, heads: int, hidden: int, B: int, dtype: str
) -> None:
    """Fewer pairs than shards, the smallest prime, widths that no vector register divides."""
    sizes = [f"task.p={p}", "task.exclude_zero=false", f"model.width={width}", f"model.heads={heads}"]
    config = with_settings(preset("tiny"), [*sizes, f"model.mlp_width={hidden}", "compute.shards=4"])
    rng = np.random.default_rng(B)
    tokens, targets = rng.integers(0, p, (B, 2)), rng.integers(0, p, (len(config.task.operations), B))
    fast, plain = (Objective(config, tokens, targets, engine=name, dtype=dtype) for name in ("cpu", "plain"))
    theta = (initial(config) + 0.3 * rng.standard_normal(fast.size)).astype(dtype)
    v = rng.standard_normal(fast.size).astype(dtype)
    for found, expected in (
        (fast.grad(theta), plain.grad(theta)),
        (fast.hvp(theta, v), plain.hvp(theta, v)),
        (fast.ggn_vp(theta, v), plain.ggn_vp(theta, v)),
    ):
        scale = max(np.abs(expected).max(), 1)
        assert np.abs(found - expected).max() < 200 * np.finfo(dtype).eps * scale
