"""The data: all pairs of tokens, the train/test split, and the stream of batches."""

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minigrok.config import Task
from minigrok.config.operations import OPERATIONS, Ints


class Pairs(NamedTuple):
    """All M pairs of a task in lexicographic order, what each operation makes of them, and the split."""

    tokens: Ints  # (M, 2)        a and b
    targets: Ints  # (n_tasks, M)  classes in 0 .. p-1, operations in the order of the config
    train: Ints  # (n_train,)    rows to train on, in the order that batches index
    test: Ints  # (n_test,)     the other rows

    def of(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return tokens (n, 2) and targets (n_tasks, n) of some rows, such as `train`."""
        return self.tokens[rows], self.targets[:, rows]


def pairs(task: Task, seed: int) -> Pairs:
    """Pair table of a task and its split.

    Parameters
    ----------
    task : Task
    seed : int    the run's seed

    Returns
    -------
    Pairs
        int64 arrays; the first floor(train_fraction * M) shuffled rows are train

    Source
    ------
    arXiv:2602.18523, code aa4e72f: random.Random(seed).shuffle(list of all pairs, a outer, b inner).
    """
    values = np.arange(int(task.exclude_zero), task.p, dtype=np.int64)
    a, b = np.repeat(values, len(values)), np.tile(values, len(values))  # (M,) each
    targets = np.stack([OPERATIONS[name](a, b, task.p) for name in task.operations])  # (n_tasks, M)
    order = list(range(task.n_pairs))
    random.Random(seed).shuffle(order)
    rows = np.array(order, dtype=np.int64)  # (M,)
    return Pairs(np.stack([a, b], axis=1), targets, rows[: task.n_train], rows[task.n_train :])


class BatchStream:
    """The endless stream of training batches: uniform positions into the train rows, with replacement.

    Parameters
    ----------
    seed : int          the run's seed
    n_train : int       number of train rows
    batch_size : int    B

    Source
    ------
    arXiv:2602.18523, code aa4e72f: np.random.seed(seed), then np.random.randint(0, n_train, B) each step.
    """

    def __init__(self, seed: int, n_train: int, batch_size: int) -> None:
        self._random = np.random.RandomState(seed)  # the original's generator, number for number
        self._n_train = n_train
        self._batch_size = batch_size

    def next(self) -> Ints:
        """Positions (B,) int64 of the next batch, each in 0 .. n_train-1."""
        return self._random.randint(0, self._n_train, size=self._batch_size, dtype=np.int64)

    def state(self) -> dict[str, Any]:
        """State of the stream, for `restore`: "keys" (624,) uint32 and "position" int."""
        state = self._random.get_state(legacy=False)["state"]
        return {"keys": state["key"].copy(), "position": int(state["pos"])}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go to a state that `state` returned; the next batch is the one that followed it then."""
        self._random.set_state(("MT19937", state["keys"], int(state["position"]), 0, 0.0))
