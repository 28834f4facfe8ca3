"""R networks on a CUDA device, each with its own parameters and its own batch, in one pass.

The passes are those of the CPU, in one shard, on a `CudaEngine` whose arrays are Stacks: every kernel does its work for
all replicas. With R = 1 it takes the place of a `Sharded` in an `Objective`; what comes and goes are NumPy's vectors.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array
from minigrok.engine.threads import Team
from minigrok.network import model
from minigrok.network.params import layout
from minigrok.network.shards import Passes, Shard


class Fleet(Passes):
    """Passes over R batches of one size at the parameters in `theta`, a Stack that the caller fills.

    Parameters
    ----------
    config : Config
        Task and model of every replica; the rest of it is not read here.
    dtype : str
        Type of all arrays.
    replicas : int
        R.
    machine : CudaEngine, optional
        Default: a new one.
    """

    theta: Any  # a Stack, like all its arrays

    def __init__(self, config: Config, dtype: str, replicas: int = 1, machine: Any = None) -> None:
        from minigrok.engine.cuda import CudaEngine  # needs the extra [cuda]

        self.machine = machine or CudaEngine(dtype, replicas)
        self.replicas = replicas
        theta, direction, self.gradients = (self.machine.zeros((layout(config).size,)) for _ in range(3))
        whole = self.machine  # whole vectors, too, are divided among the device's threads
        super().__init__(config, [self.machine], whole, Team(1), theta, direction, [self.gradients])

    def plan(self, tokens: Array) -> Any:
        """Return the plan of a pass over the same pairs (M, T), int64, in every replica."""
        return self.plan_each([tokens] * self.replicas)

    def plan_each(self, tokens: Sequence[Array]) -> Any:
        """Return the plan of a pass over each replica's pairs (M, T), its arrays Stacks."""
        return self._stacked([model.plan(self.config, each) for each in tokens], {})

    def load(self, tokens: Array, targets: Array) -> None:
        """Take one batch for every replica: tokens (B, T) and targets (n_tasks, B), int64."""
        self.load_each([tokens] * self.replicas, [targets] * self.replicas)

    def load_each(self, tokens: Sequence[Array], targets: Sequence[Array]) -> None:
        """Take a batch for each replica, all of one size."""
        if len(tokens[0]) != self.size:  # as in `Sharded.load`
            self.machine.release()
        self.size = len(tokens[0])
        self.targets = self.machine.stack(np.stack(targets).astype(np.int64))  # (n_tasks, B)
        mine = [self.targets[k] for k in range(len(targets[0]))]
        self.shards = [Shard(self.machine, slice(0, self.size), self.plan_each(tokens), mine)]

    def losses(self) -> Array:
        """Return the mean losses of the last forward pass, (R, n_tasks) float64, in nats."""
        losses: list[Any] = self.shards[0].losses
        return np.stack([np.mean(each.host(), axis=1, dtype=np.float64) for each in losses], axis=1)

    def reduce(self, out: Array) -> None:
        """Fill `out` (P,) with what the only replica's last pass left."""
        out[:] = self.gradients

    def _losses(self) -> Array:
        only: Array = self.losses()[0]
        return only

    def _stacked(self, parts: list[Any], made: dict[int, Any]) -> Any:
        """Join the replicas' plans; what is one object in them is one object again."""
        first = parts[0]
        if isinstance(first, np.ndarray):
            return self.machine.stack(np.stack(parts))
        if not isinstance(first, tuple):
            return first  # a number, or None
        if id(first) not in made:
            joined = [self._stacked(list(each), made) for each in zip(*parts, strict=True)]
            made[id(first)] = type(first)(*joined) if hasattr(first, "_fields") else tuple(joined)
        return made[id(first)]
