"""Small runs that grok when they are told to, without training."""

import numpy as np

from minigrok.config import preset, with_values
from minigrok.network.params import initial
from minigrok.storage import runs

SMALL = {"task.p": 7, "model.width": 8, "model.heads": 2, "model.mlp_width": 8}
STEPS = (1, *range(100, 2100, 100))


def make(folder, groks=(1500, 1200), decay=1.0, seed=42, snapshots=(), **settings):
    """Make a run of as many tasks as there are grok steps; None: never."""
    tasks = ("add", "mul", "sq")[: len(groks)]
    values = {**SMALL, "seed": seed, "optimiser.weight_decay": decay, "task.operations": tasks, **settings}
    config = with_values(preset("tiny"), values)
    rng, theta = np.random.default_rng(seed), initial(config).astype(np.float64)
    with runs.create(folder, config) as run:
        for i, step in enumerate(STEPS):
            row = {"step": step}
            for task in tasks:
                row |= {f"train_loss_{task}": 0.01, f"train_accuracy_{task}": 1.0 if i > 2 else 0.5}
            for task, grok in zip(tasks, groks, strict=True):
                high = grok is not None and step >= grok - 200
                row |= {f"test_loss_{task}": 1.0, f"test_accuracy_{task}": 0.99 if high else 0.1}
            run.append_metrics(row | {"grad_norm": 1.0, "param_norm": 10.0})
        for step in snapshots:
            run.save_snapshot(step, theta.astype(np.float32))
            theta = 0.98 * theta + 0.03 * rng.standard_normal(theta.size)
    return run
