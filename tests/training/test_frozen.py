"""Frozen parts: an optimiser that never sees them, by the book, and beside PyTorch's requires_grad = False."""

import dataclasses

import numpy as np
import pytest

from minigrok.config import Compute, Config, Model, Optimiser, Task, Train, with_settings
from minigrok.errors import ConfigError
from minigrok.network.params import attention_matrices, initial, layout, members
from minigrok.tasks import BatchStream, pairs
from minigrok.training.train import ready
from minigrok.training.trainer import Trainer

QK = ("queries", "keys")
BASE = Config(
    "frozen",
    task=Task(p=7),
    model=Model(width=8, heads=2, mlp_width=6, blocks=2),
    optimiser=Optimiser(clip_norm=0.5),
    train=Train(batch_size=8),
    compute=Compute(dtype="float64", shards=1),
)


def frozen(*parts: str, since: int = 1, base: Config = BASE) -> Config:
    return dataclasses.replace(base, optimiser=dataclasses.replace(base.optimiser, frozen=parts, frozen_from=since))


def path(config: Config, steps: int = 8) -> np.ndarray:
    trainer, found = Trainer(config, 1), []
    for _ in range(steps):
        trainer.step()
        found.append(trainer.theta.copy())
    return np.stack(found)


def by_the_book(config: Config, free: np.ndarray, steps: int = 8) -> np.ndarray:
    """AdamW over the free parameters alone, gradients from minigrok."""
    o, source = config.optimiser, Trainer(dataclasses.replace(config, optimiser=Optimiser()), 1)
    theta, found = source.theta.copy(), []
    m, v = np.zeros((2, theta.size))
    for t in range(1, steps + 1):
        source.theta[:] = theta
        rows, g = source.stream.next(), source.grad
        source.net.gradient(source.tokens[rows], source.targets[:, rows], g)
        use = free if t >= o.frozen_from else np.ones_like(free)
        g = g * use * min(1.0, o.clip_norm / (np.linalg.norm(g[use]) + 1e-6))
        m, v = o.beta1 * m + (1 - o.beta1) * g, o.beta2 * v + (1 - o.beta2) * g * g
        u = o.learning_rate * (m / (1 - o.beta1**t)) / (np.sqrt(v / (1 - o.beta2**t)) + o.eps)
        theta = np.where(use, theta * (1 - o.decay_rate) - u, theta)
        found.append(theta)
    return np.stack(found)


@pytest.mark.parametrize("since", [1, 4])
@pytest.mark.parametrize("parts", [QK, ("values", "outputs"), ("*.linear1.*", "pos_emb")])
def test_a_frozen_part_stands_still_and_the_rest_is_trained_without_it(parts: tuple[str, ...], since: int) -> None:
    config = frozen(*parts, since=since)
    mask = members(config, parts)
    found, expected = path(config), by_the_book(config, ~mask)
    assert np.abs(found - expected).max() < 1e-12
    still = np.abs(np.diff(found, axis=0)).max(axis=0) == 0
    assert still[mask].all() == (since == 1)
    assert (found[since - 2 if since > 1 else 0 :, mask] == found[-1, mask]).all()
    moved = path(BASE)
    assert (found[: since - 1] == moved[: since - 1]).all()
    assert (found[-1, ~mask] != moved[-1, ~mask]).any()


def test_it_is_pytorchs_requires_grad() -> None:
    pytest.importorskip("torch", reason="the oracle needs PyTorch: install the extra [oracle]")
    import accuracy
    import oracle

    names = ("encoder.layers.0.linear1.weight", "heads.add.bias")
    config, s, data = frozen(*names), BASE.optimiser, pairs(BASE.task, BASE.seed)
    stream = BatchStream(config.seed, len(data.train), config.train.batch_size)
    rows = [data.train[stream.next()] for _ in range(8)]
    model = accuracy.twin(config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in names)
    settings = {"lr": s.learning_rate, "weight_decay": s.weight_decay, "max_norm": s.clip_norm}
    batches = [(data.tokens[r], data.targets[:, r]) for r in rows]
    theirs, _ = oracle.train_steps(model, initial(config), batches, [1.0, 1.0], **settings)
    difference = np.abs(path(config) - theirs).max(axis=0)
    keys = members(config, ["keys"])  # their biases' gradient is rounding
    assert difference[~keys].max() < 1e-13
    assert np.abs(path(BASE)[-1] - theirs[-1])[~keys].max() > 1e-4


def test_the_parts_are_those_rows() -> None:
    mask, parts = members(BASE, ["queries"]), layout(BASE)
    places = attention_matrices(BASE)
    assert all(mask[places[f"L{i} WQ"]].all() for i in (0, 1))
    assert not any(mask[places[f"L{i} {w}"]].any() for i in (0, 1) for w in ("WK", "WV", "WO"))
    assert mask.sum() == 2 * (64 + 8)
    everything = members(BASE, ["queries", "keys", "values"])
    assert (everything == parts.group(["*.in_proj_*"])).all()
    assert (members(BASE, ["outputs"]) == parts.group(["*.out_proj.*"])).all()
    assert (members(BASE, ["attention"]) == (everything | members(BASE, ["outputs"]))).all()
    with pytest.raises(ConfigError, match=r"heads\.add\.weight"):
        members(BASE, ["heads.add.weigth"])


@pytest.mark.parametrize("setting", ["optimiser.frozen", "init.zero"])
def test_a_part_that_is_not_there_is_refused_before_a_run_is_made(setting: str) -> None:
    with pytest.raises(ConfigError, match="fits a parameter"):
        ready(with_settings(BASE, [f'{setting}=["query"]']))


def test_zero_rows_are_zero_and_the_others_as_without() -> None:
    config = with_settings(BASE, ['init.zero=["queries", "keys"]'])
    mask, start = members(config, QK), initial(config)
    assert not start[mask].any()
    assert (start[~mask] == initial(BASE)[~mask]).all()


def test_queries_and_keys_at_0_stay_there_to_the_last_bit() -> None:
    """A saddle: each is the gradient of the other. So no freezing is needed, and the network attends uniformly."""
    config = with_settings(BASE, ['init.zero=["queries", "keys"]', "init.identical_blocks=false"])
    mask, found = members(config, QK), path(config, 20)
    assert not found[:, mask].any()
    alike = path(with_settings(config, ["model.attention=uniform"]), 20)
    assert np.abs(found - alike).max() < 1e-12


def test_uniform_attention_leaves_queries_and_keys_to_the_decay() -> None:
    config = with_settings(BASE, ["model.attention=uniform"])
    mask, found, keep = members(config, QK), path(config, 5), 1 - config.optimiser.decay_rate
    assert np.abs(found[-1, mask] - initial(config)[mask] * keep**5).max() < 1e-15
    still = path(frozen(*QK, base=config), 5)
    assert (still[-1, mask] == initial(config)[mask]).all()
    assert (still[-1, ~mask] == found[-1, ~mask]).all(), "nothing else depends on them"
