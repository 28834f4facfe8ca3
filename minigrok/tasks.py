"""The data: all pairs of tokens, the train/test split, and the stream of batches."""

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minigrok.config import Task
from minigrok.config.operations import OPERATIONS, Ints
from minigrok.config.symmetries import group
from minigrok.errors import ConfigError
from minigrok.orbits import Bools, has_partner, orbits, split_whole


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
        int64 arrays. split "random": the first floor(train_fraction * M) shuffled rows are train. "orbits": of the
        orbits of each size, the first floor(train_fraction * n) that occur in the shuffled rows; both parts keep the
        order of these. Where train rows are listed: these, and the others in ascending order

    Raises
    ------
    ConfigError
        There are too few orbits for both sides of the split.

    Source
    ------
    arXiv:2602.18523, code aa4e72f: random.Random(seed).shuffle(list of all pairs, a outer, b inner).
    """
    values = np.arange(int(task.exclude_zero), task.p, dtype=np.int64)
    a, b = np.repeat(values, len(values)), np.tile(values, len(values))  # (M,) each
    targets = np.stack([OPERATIONS[name](a, b, task.p) for name in task.operations])  # (n_tasks, M)
    tokens = np.stack([a, b], axis=1)  # (M, 2)
    if task.train_rows:
        train = np.array(task.train_rows, dtype=np.int64)
        return Pairs(tokens, targets, train, np.setdiff1d(np.arange(task.n_pairs), train))
    order = list(range(task.n_pairs))
    random.Random(seed).shuffle(order)
    rows = np.array(order, dtype=np.int64)  # (M,)
    if task.split == "orbits":
        return Pairs(tokens, targets, *_whole_orbits(task, tokens, rows))
    return Pairs(tokens, targets, rows[: task.n_train], rows[task.n_train :])


def _whole_orbits(task: Task, tokens: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return train and test rows between which no symmetry of any of the operations leads."""
    orbit = orbits(tokens, task.p, group(task.operations))
    is_train = split_whole(orbit, rows, task.train_fraction)[rows]
    if is_train.all() or not is_train.any():
        required = f"orbits on both sides of the split, of {task.n_pairs} pairs"
        got = f"{len(np.unique(orbit))} orbits, {task.train_fraction:g} of each size for training"
        raise ConfigError(required, got, 'take a larger task.p, another task.train_fraction or task.split = "random"')
    return rows[is_train], rows[~is_train]


def with_partner(task: Task, data: Pairs) -> Bools:
    """Return whether each test pair has a train pair of equal answer by the symmetries of each operation alone.

    Returns
    -------
    (n_tasks, n_test) bool
        In the order of `task.operations` and `data.test`; nowhere true if the split keeps orbits whole.
    """
    each = (orbits(data.tokens, task.p, group([name])) for name in task.operations)
    return np.stack([has_partner(orbit, data.test, data.train) for orbit in each])


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
