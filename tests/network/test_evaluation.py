"""Loss and accuracy over many pairs are those of a plain argmax and log-softmax, for any number of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from minigrok.config import Config, Model, Task, with_settings
from minigrok.engine import Array, open_engine
from minigrok.network.evaluation import CHUNK, Evaluation, is_correct
from minigrok.network.model import forward, plan
from minigrok.network.params import initial, layout
from minigrok.network.sharded import Sharded
from minigrok.tasks import pairs

CONFIG = Config("wide", task=Task(p=29), model=Model(width=8, heads=2, mlp_width=6))  # 784 pairs


def net_of(config: Config, engine: str = "cpu", dtype: str = "float64", threads: int | None = None) -> Sharded:
    net = Sharded(config, engine, dtype, 2, threads)
    net.theta[:] = initial(config) + np.random.default_rng(0).standard_normal(net.layout.size)
    return net


def all_logits(net: Sharded, tokens: Array) -> list[Array]:
    """Logits of all pairs in one pass of the plain engine, without savings."""
    return forward(open_engine("plain", net.dtype.name), net.w, plan(net.config, tokens, savings=False))[0]


def plain_scores(logits: list[Array], targets: Array) -> tuple[Array, Array]:
    losses, accuracies = [], []
    for z, target in zip(logits, targets, strict=True):
        z = z.astype(np.float64)
        log_p = (
            z
            - np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
            - z.max(axis=1, keepdims=True)
        )
        losses.append(-log_p[np.arange(len(z)), target].mean())
        accuracies.append((z.argmax(axis=1) == target).mean())
    return np.array(losses), np.array(accuracies)


@pytest.mark.parametrize(
    ("engine", "M"),
    [*((e, M) for e in ("plain", "cpu") for M in (1, 2, CHUNK - 1, CHUNK, CHUNK + 1)), ("cpu", 783), ("cpu", 784)],
)
def test_scores_are_argmax_and_log_softmax(engine: str, M: int) -> None:
    net, data = net_of(CONFIG, engine), pairs(CONFIG.task, 0)
    rows = np.random.default_rng(M).permutation(784)[:M]
    tokens, targets = data.tokens[rows], data.targets[:, rows]
    logits = all_logits(net, tokens)
    targets[0, ::2] = logits[0].argmax(axis=1)[::2]  # so that some are right
    loss, accuracy = plain_scores(logits, targets)
    scores = Evaluation(net, tokens, targets).scores()
    assert np.allclose(scores.loss, loss, rtol=1e-13, atol=0)
    assert np.array_equal(scores.accuracy, accuracy)
    assert np.array_equal(scores.correct, [z.argmax(axis=1) == t for z, t in zip(logits, targets, strict=True)])
    assert accuracy[0] >= 0.5
    assert M < 3 or accuracy[1] < 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_what_came_before_change_no_bit(dtype: str) -> None:
    data, scores = pairs(CONFIG.task, 0), []
    for threads in (1, 2, 2):
        net = net_of(CONFIG, dtype=dtype, threads=threads)
        evaluation = Evaluation(net, data.tokens, data.targets)
        if scores:  # a training pass in the same workspaces
            net.load(data.tokens[:100], data.targets[:, :100])
            net.forward()
            net.backward(np.empty_like(net.theta))
        scores += [evaluation.scores(), evaluation.scores()]
    assert all(np.array_equal(s.loss, scores[0].loss) for s in scores)
    assert all(np.array_equal(s.accuracy, scores[0].accuracy) for s in scores)


@pytest.mark.parametrize("size", [100, 300])
def test_a_replay_at_another_theta_is_a_first_pass_there(size: int) -> None:
    """Whatever passes of this or another size used the memory in between."""
    data, net, other = pairs(CONFIG.task, 0), net_of(CONFIG), net_of(CONFIG)
    evaluation, grad = Evaluation(net, data.tokens, data.targets), np.empty_like(net.theta)
    net.gradient(data.tokens[:100], data.targets[:, :100], grad)
    evaluation.scores()
    net.gradient(data.tokens[-size:], data.targets[:, -size:], grad)
    net.theta[:] = other.theta[:] = net.theta[::-1].copy()
    again, first = evaluation.scores(), Evaluation(other, data.tokens, data.targets).scores()
    assert np.array_equal(again.loss, first.loss)
    assert np.array_equal(again.accuracy, first.accuracy)
    fresh = np.empty_like(grad)
    assert np.array_equal(
        net.gradient(data.tokens[-size:], data.targets[:, -size:], grad),
        other.gradient(data.tokens[-size:], data.targets[:, -size:], fresh),
    )
    assert np.array_equal(grad, fresh)


def test_float32_loss_is_averaged_in_float64() -> None:
    """The mean of 784 float32 losses has the error of one loss, not that of a float32 sum."""
    data, found = pairs(CONFIG.task, 0), {}
    for dtype in ("float32", "float64"):
        net = net_of(CONFIG, dtype=dtype)
        evaluation = Evaluation(net, data.tokens, data.targets)
        found[dtype] = evaluation.scores().loss
        assert found[dtype].dtype == np.float64
        assert np.array_equal(found[dtype], evaluation._losses.astype(np.float64).mean(axis=1))
    assert np.allclose(found["float32"], found["float64"], rtol=1e-6, atol=0)


def test_the_first_of_equal_logits_is_the_answer() -> None:
    """As np.argmax and torch.argmax on a CPU have it."""
    logits = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -1.0, 0.0], [-np.inf, -np.inf, -5.0]])
    for engine in ("plain", "cpu"):
        correct = np.empty(4, np.bool_)
        for target, expected in enumerate(np.eye(3, dtype=bool)[:, logits.argmax(axis=1)]):
            open_engine(engine, "float64").rows(is_correct, 4, logits, np.full(4, target), correct)
            assert np.array_equal(correct, expected)


def test_a_network_that_cannot_decide_answers_class_0() -> None:
    net, data = net_of(CONFIG), pairs(CONFIG.task, 0)
    views = layout(CONFIG).views(net.theta)
    views["heads.add.weight"][:] = views["heads.add.bias"][:] = 0
    scores = Evaluation(net, data.tokens, data.targets).scores()
    assert scores.accuracy[0] == np.mean(data.targets[0] == 0)
    assert scores.loss[0] == pytest.approx(np.log(29), rel=1e-15)


def test_saturating_is_the_configs_choice() -> None:
    """A network sure of class 0 by 30 nats: float32 log-softmax rounds the loss to 0, the stable form does not."""
    for form, expected in (("stable", 28 * np.exp(-30)), ("saturating", 0.0)):
        config = with_settings(CONFIG, [f"model.cross_entropy={form}"])
        net, data = net_of(config, dtype="float32"), pairs(config.task, 0)
        views = layout(config).views(net.theta)
        views["heads.add.weight"][:] = views["heads.add.bias"][:] = 0
        views["heads.add.bias"][0] = 30
        scores = Evaluation(net, data.tokens, np.zeros_like(data.targets)).scores()
        assert scores.loss[0] == pytest.approx(expected, rel=1e-5, abs=0)
        assert scores.accuracy[0] == 1


def test_losses_that_are_not_finite_are_reported_as_they_are() -> None:
    net, data = net_of(CONFIG, threads=1), pairs(CONFIG.task, 0)
    layout(CONFIG).views(net.theta)["heads.mul.bias"][3] = np.nan
    loss = Evaluation(net, data.tokens, data.targets).scores().loss
    assert np.isfinite(loss[0])
    assert np.isnan(loss[1])
