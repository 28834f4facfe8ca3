"""Run folders whose contents are known by construction, without training."""

import numpy as np

from minigrok.config import preset, with_settings
from minigrok.network.params import initial, layout
from minigrok.storage import runs

STEPS = (1, *range(100, 2100, 100))
ROWS = len(STEPS)
SMALL = ("task.p=7", "model.width=8", "model.heads=2", "model.mlp_width=8")


def make(folder, test=(), train=None, loss=None, norm=None, steps=STEPS, settings=(), thetas=None):
    """Make a run.

    test, train, loss: each task's accuracies and train losses, one sequence a task; one value a row of `steps`.
    thetas: step -> (P,); settings: "key=value" on top of a tiny model.
    """
    config = with_settings(preset("tiny"), [*SMALL, *settings])
    tasks = config.task.operations
    steps = steps[: len(test[0])] if len(test) else ()
    rows = len(steps)
    train = np.ones((len(tasks), rows)) if train is None else train
    loss = np.full((len(tasks), rows), 0.01) if loss is None else loss
    norm = np.linspace(50, 20, rows) if norm is None else norm
    with runs.create(folder, config) as run:
        for i, step in enumerate(steps):
            row = {"step": step}
            for k, task in enumerate(tasks):
                row |= {f"train_loss_{task}": loss[k][i], f"train_accuracy_{task}": train[k][i]}
            for k, task in enumerate(tasks):
                row |= {f"test_loss_{task}": 1.0, f"test_accuracy_{task}": test[k][i]}
            run.append_metrics(row | {"grad_norm": 1.0, "param_norm": norm[i]})
        for step, theta in (thetas or {}).items():
            run.save_snapshot(step, theta)
    return run


def rises(at, rows=ROWS, low=0.1, high=1.0):
    """Return accuracies that jump from `low` to `high` at row `at`; None: never."""
    return np.where(np.arange(rows) >= (rows if at is None else at), high, low)


def walk(config, steps, seed=0, size=0.01, dtype=np.float32):
    """Return a random walk of all parameters from their initial values, one isotropic move between snapshots."""
    rng, theta, found = np.random.default_rng(seed), initial(config).astype(np.float64), {}
    for step in steps:
        found[step] = theta.astype(dtype)
        theta = theta + size * rng.standard_normal(layout(config).size)
    return found
