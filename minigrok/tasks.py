"""The data: modular operations on pairs of tokens, the train/test split, and the stream of batches."""

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrok.errors import ConfigError

if TYPE_CHECKING:
    from minigrok.config import Task

Ints = npt.NDArray[np.int64]


def add(a: Ints, b: Ints, p: int) -> Ints:
    """a + b mod p."""
    return (a + b) % p


def sub(a: Ints, b: Ints, p: int) -> Ints:
    """a - b mod p, in 0 .. p-1."""
    return (a - b) % p


def mul(a: Ints, b: Ints, p: int) -> Ints:
    """a b mod p."""
    return (a * b) % p


def sq(a: Ints, b: Ints, p: int) -> Ints:
    """a^2 + b^2 mod p."""
    total: Ints = a * a + b * b
    return total % p


def x2_xy_y2(a: Ints, b: Ints, p: int) -> Ints:
    """a^2 + a b + b^2 mod p."""
    total: Ints = a * a + a * b + b * b
    return total % p


def x3_xy(a: Ints, b: Ints, p: int) -> Ints:
    """a^3 + a b mod p; int64 holds a^3 for every p below two million."""
    total: Ints = a * a * a + a * b
    return total % p


def div(a: Ints, b: Ints, p: int) -> Ints:
    """a b^-1 mod p; b must not be 0."""
    if np.any(b % p == 0):
        raise ConfigError("b different from 0 in a / b", "b = 0", "set task.exclude_zero = true")
    inverse = np.array([0] + [pow(i, -1, p) for i in range(1, p)], dtype=np.int64)  # (p,), entry 0 unused
    return (a * inverse[b % p]) % p


# Each maps int64 arrays a and b of one shape, and the prime p, to an int64 array of that shape in 0 .. p-1.
OPERATIONS: dict[str, Callable[[Ints, Ints, int], Ints]] = {
    "add": add,
    "mul": mul,
    "sq": sq,
    "sub": sub,
    "x2_xy_y2": x2_xy_y2,
    "x3_xy": x3_xy,
    "div": div,
}


class Pairs(NamedTuple):
    """All M pairs of a task in lexicographic order, what each operation makes of them, and the split."""

    tokens: Ints  # (M, 2)        a and b
    targets: Ints  # (n_tasks, M)  classes in 0 .. p-1, operations in the order of the config
    train: Ints  # (n_train,)    rows to train on, in the order that batches index
    test: Ints  # (n_test,)     the other rows


def pairs(task: "Task", seed: int) -> Pairs:
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
