"""Losses of two independent training batches at one point, drawn again and again.

Batches are drawn uniformly from the training pairs with replacement, `train.batch_size` pairs each, as in training.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from minigrok.engine import Array
from minigrok.network.objective import Objective
from minigrok.storage.runs import Run
from minigrok.tasks import pairs


class Mode(NamedTuple):
    """Which tasks' losses batch A and batch B take: one weight a task, 1 or 0."""

    name: str
    a: Array
    b: Array


def modes(tasks: tuple[str, ...], same: bool = True) -> list[Mode]:
    """Return the total loss on both sides, each two tasks, and (`same`) each task with itself.

    The pairs "add, add" are the reference for "add, mul": the total is a sum, so its D is not theirs. A run of one task
    has the total alone.
    """
    n = len(tasks)
    found, one = [Mode("total", np.ones(n), np.ones(n))], np.eye(n)
    if n > 1:
        chosen = [(i, j) for i in range(n) for j in range(i + 1, n)] + [(i, i) for i in range(n) if same]
        found += [Mode(f"{tasks[i]}, {tasks[j]}", one[i], one[j]) for i, j in chosen]
    return found


class Probe:
    """Two objectives, A and B, that share nothing but the run.

    Parameters
    ----------
    run : Run
    dtype : str
        "float64", or "float32" for the paper's procedure: then the cross-entropy is PyTorch's, which is exactly 0
        once the true class has all the probability that float32 can see (`model.cross_entropy = "saturating"`).
    """

    def __init__(self, run: Run, dtype: str) -> None:
        config = run.config
        if dtype == "float32":
            config = dataclasses.replace(config, model=dataclasses.replace(config.model, cross_entropy="saturating"))
        data = pairs(config.task, config.seed)
        self.tokens, self.targets = data.of(data.train)
        self.batch_size = config.train.batch_size
        first = np.arange(min(self.batch_size, len(self.tokens)))
        self.a, self.b = (Objective(config, *self._batch(first), dtype=dtype) for _ in range(2))

    def draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the rows of two independent batches, (B,) each; the same for every `Probe` of the run."""
        rows_a, rows_b = rng.integers(0, len(self.tokens), (2, self.batch_size))
        return rows_a, rows_b

    def load(self, rows: tuple[Array, Array], mode: Mode | None = None) -> None:
        """Give A and B their batches, and the losses of `mode` (default: the total)."""
        self.a.load(*self._batch(rows[0]), mode and mode.a)
        self.b.load(*self._batch(rows[1]), mode and mode.b)

    def _batch(self, rows: Array) -> tuple[Array, Array]:
        return self.tokens[rows], self.targets[:, rows]
