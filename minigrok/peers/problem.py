"""What every contender of the benchmark computes: the same work on the same numbers.

A contender is a module of this package with a function `open_peer(name, problem) -> Peer`. Works:

    step    one training step: draw a batch from the paper's stream, forward, backward, clip, AdamW
    hvp     the Hessian of the batch loss times k directions, at a point that is new in each call
    eval    mean loss and accuracy of each task over a set of pairs
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from minigrok.config import Config
from minigrok.network.params import initial, layout
from minigrok.rng import rng
from minigrok.tasks import BatchStream, Pairs, pairs

Array = npt.NDArray[Any]
NOISE = 0.02  # added to the initial parameters, so that no bias is 0 and no block equals another: our choice
N_STEPS = 3  # training steps that the gate compares
TRIALS = 3  # calls of each variant, of which the shortest counts


@dataclass(frozen=True, slots=True)
class Work:
    """What is timed.

    Attributes
    ----------
    kind : str          "step", "hvp" or "eval"; "sgemm-..." are the benchmark's own (minigrok.peers.products)
    dtype : str         "float32" or "float64"
    pairs : str         "batch" (the first of the stream), "train" or "all"
    directions : int    k, of an Hv
    """

    kind: str
    dtype: str = "float32"
    pairs: str = "batch"
    directions: int = 1


@dataclass(frozen=True)
class Problem:
    """A work with its numbers, the same in every process.

    Attributes
    ----------
    config : Config
    work : Work
    threads : int
    choose : bool    a peer that can do the work in several ways tries all and takes the fastest; False: the first
    """

    config: Config
    work: Work
    threads: int = 1
    choose: bool = True

    @cached_property
    def points(self) -> Array:
        """Two points theta (2, P): initial parameters and noise."""
        theta = initial(self.config)
        noise = rng(self.config.seed, "bench points").standard_normal((2, theta.size))
        return (theta + NOISE * noise).astype(self.work.dtype)

    @cached_property
    def directions(self) -> Array:
        """Directions (P, k), standard normal."""
        shape = (layout(self.config).size, self.work.directions)
        return rng(self.config.seed, "bench directions").standard_normal(shape).astype(self.work.dtype)

    @cached_property
    def table(self) -> Pairs:
        """All pairs of the task and their split."""
        return pairs(self.config.task, self.config.seed)

    def stream(self) -> BatchStream:
        """Return the stream of batches from its start."""
        return BatchStream(self.config.seed, len(self.table.train), self.config.train.batch_size)

    @cached_property
    def rows(self) -> Array:
        """Rows of the table that the work is about."""
        if self.work.pairs == "all":
            return np.arange(len(self.table.tokens))
        return self.table.train if self.work.pairs == "train" else self.table.train[self.stream().next()]

    @property
    def tokens(self) -> Array:
        """Pairs (B, 2) int64 that the work is about."""
        return self.table.tokens[self.rows]

    @property
    def targets(self) -> Array:
        """Classes (n_tasks, B) int64 of these pairs."""
        return self.table.targets[:, self.rows]


class Peer(Protocol):
    """A contender, ready to do one work."""

    note: str  # how it does it, in words

    def run(self) -> Any:
        """Do the work once, completely."""

    def outcome(self) -> dict[str, Array]:
        """Return what the gate compares, by the names in `minigrok.bench.gate.LIMITS`."""


class Trainee(Protocol):
    """What `step_outcome` needs of a peer that trains."""

    def run(self) -> float:
        """Make a step and return the loss before it."""

    def gradient(self, tokens: Array, targets: Array) -> tuple[float, Array]:
        """Return loss and gradient (P,) of a batch, at the present parameters."""

    def theta(self) -> Array:
        """Return the present parameters (P,), a copy."""


def step_outcome(peer: Trainee, problem: Problem) -> dict[str, Array]:
    """Loss and gradient on the first batch; then the losses of some steps, and how far they lead.

    The key biases are left out of the update: their exact gradient is 0, and Adam makes steps of the rounding noise.
    """
    loss, grad = peer.gradient(problem.tokens, problem.targets)
    start = peer.theta()
    losses = [peer.run() for _ in range(N_STEPS)]
    update = (peer.theta() - start)[~key_biases(problem.config)]
    return {"loss": np.array(loss), "grad": grad, "losses": np.array(losses), "update": update}


def key_biases(config: Config) -> npt.NDArray[np.bool_]:
    """Mask (P,) of the biases of the attention's keys."""
    parts, width = layout(config), config.model.width
    mask = np.zeros(parts.size, np.bool_)
    for name, array in parts.views(mask).items():
        if name.endswith("in_proj_bias"):
            array[width : 2 * width] = True
    return mask


def fastest(variants: Mapping[str, Callable[[], Any]], choose: bool) -> str:
    """Name of the variant with the shortest call, each warmed up by one; the first one unless `choose`."""
    if not choose or len(variants) == 1:
        return next(iter(variants))
    return min(variants, key=lambda name: _shortest(variants[name]))


def _shortest(call: Callable[[], Any]) -> float:
    """Seconds of the shortest of some calls after the first."""
    call()
    seconds = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
