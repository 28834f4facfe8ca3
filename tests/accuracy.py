"""How far minigrok is from PyTorch in float64: what the page `accuracy` shows and the tests bound.

Loss, gradient, products: preset `dual`, its 302,914 parameters at the initial values and normal noise of 0.1, B pairs.
Training: preset `dual` cut to p = 23 and batches of 128, its own optimiser, stream and start, the same for both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle

from minigrok.config import Config, preset, with_settings
from minigrok.engine import Array
from minigrok.network.objective import Objective
from minigrok.network.params import initial, layout
from minigrok.peers.problem import key_biases
from minigrok.tasks import BatchStream, pairs
from minigrok.training.trainer import Trainer

B, N_SEEDS, N_STEPS = 64, 5, 200
COLUMNS = ("loss", "gradient, worst block", "Hv", "Gauss-Newton v", "J v", "200 training steps")
LIMITS = {  # largest errors that the tests let pass: our choice, about ten times what was found
    "float32": dict(zip(COLUMNS, (2e-7, 2e-5, 2e-5, 2e-5, 1e-5, 2e-4), strict=True)),
    "float64": dict(zip(COLUMNS, (4e-15, 3e-14, 3e-14, 3e-14, 3e-14, 5e-13), strict=True)),
}


def twin(config: Config) -> Any:
    """PyTorch's model of a configuration, float64."""
    model, task = config.model, config.task
    sizes = model.width, model.heads, model.mlp_width, model.blocks
    return oracle.OracleModel(task.p, *sizes, task.operations, model.norm_eps, model.attention, model.norm)


def error(found: Array, expected: Array) -> float:
    """Largest difference, relative to the largest element."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def block_errors(config: Config, found: Array, expected: Array) -> dict[str, float]:
    """Error of every named block; each in_proj_bias without its key part, which is held against everything."""
    parts, D = layout(config), config.model.width
    errors = {}
    for name in parts.names:
        a, b = parts.views(found)[name], parts.views(expected)[name]
        if name.endswith("in_proj_bias"):
            key = np.abs(a[D : 2 * D]).max(), np.abs(b[D : 2 * D]).max()
            errors[f"{name}, key"] = float(max(key) / np.abs(expected).max())
            a, b = np.delete(a, slice(D, 2 * D)), np.delete(b, slice(D, 2 * D))
        errors[name] = error(a, b)
    return errors


def point(config: Config, n: int, seed: int) -> tuple[Array, Array, Array, Array]:
    """theta away from the initial values (float64), a direction, tokens and targets of n pairs."""
    rng = np.random.default_rng(seed)
    theta = initial(config).astype(np.float64)
    theta += 0.1 * rng.standard_normal(theta.size)
    data = pairs(config.task, config.seed)
    rows = rng.integers(0, len(data.tokens), n)
    return theta, rng.standard_normal(theta.size), data.tokens[rows], data.targets[:, rows]


def derivatives(dtype: str, seed: int) -> dict[str, float]:
    """Errors of loss, gradient and products at one point, by the columns of the table."""
    config = preset("dual")
    theta, v, tokens, targets = point(config, B, seed)
    theta, v = theta.astype(dtype), v.astype(dtype)
    exact_theta, exact_v = theta.astype(np.float64), v.astype(np.float64)
    objective = Objective(config, tokens, targets, dtype=dtype, threads=1)
    model, batch = twin(config), (tokens, targets, [1.0] * len(targets))
    found = (
        abs(objective.loss(theta) / oracle.loss(model, exact_theta, *batch) - 1),
        max(block_errors(config, objective.grad(theta), oracle.grad(model, exact_theta, *batch)).values()),
        error(objective.hvp(theta, v), oracle.hvp(model, exact_theta, exact_v, *batch)),
        error(objective.ggn_vp(theta, v), oracle.ggn_vp(model, exact_theta, exact_v, *batch)),
        error(objective.jvp(theta, v), oracle.jvp(model, exact_theta, exact_v, tokens)),
    )
    return dict(zip(COLUMNS[:-1], found, strict=True))


def training(dtype: str, seed: int) -> float:
    """Largest |difference| of a parameter (they are of order 1) after 200 steps; without the key biases.

    The exact gradient of a key bias is 0, and Adam makes steps of whatever rounding leaves of it.
    """
    config = with_settings(
        preset("dual"), ["task.p=23", "train.batch_size=128", f"seed={seed}", f"compute.dtype={dtype}"]
    )
    start = initial(config).astype(dtype)
    trainer = Trainer(config, 1, start)
    for _ in range(N_STEPS):
        trainer.step()
    s, data = config.optimiser, pairs(config.task, config.seed)
    stream = BatchStream(config.seed, len(data.train), config.train.batch_size)
    rows = [data.train[stream.next()] for _ in range(N_STEPS)]
    batches = ((data.tokens[r], data.targets[:, r]) for r in rows)
    settings = {"lr": s.learning_rate, "betas": (s.beta1, s.beta2), "eps": s.eps, "weight_decay": s.weight_decay}
    model, weights = twin(config), [1.0] * len(data.targets)
    theirs, _ = oracle.train_steps(model, start.astype(np.float64), batches, weights, s.clip_norm, **settings)
    return float(np.abs(trainer.net.theta - theirs[-1])[~key_biases(config)].max())


def worst(dtype: str, n_seeds: int = N_SEEDS) -> dict[str, float]:
    """Largest error over the seeds 0, 1, ... of each column; the training steps of seed 42 once."""
    found = [derivatives(dtype, seed) for seed in range(n_seeds)]
    return {column: max(row[column] for row in found) for column in COLUMNS[:-1]} | {COLUMNS[-1]: training(dtype, 42)}
