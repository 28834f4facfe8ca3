"""The network over a batch on the CPU, in a fixed number of shards, each run whole by one thread.

Partial sums are combined in the order of the shards, so the result depends on the number of shards, which the config
states, and never on the number of threads.
"""

from typing import Any

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array, chosen, open_engine, replay
from minigrok.engine.threads import Team, TeamEngine, available_threads
from minigrok.errors import EngineError
from minigrok.layers.sums import column_sums
from minigrok.network import model
from minigrok.network.params import layout
from minigrok.network.shards import Passes, Shard

ALONE = 2**20  # parameters up to which one thread has added two vectors before another is awake: our choice, measured


class Sharded(Passes):
    """Passes over a batch whose arrays are NumPy's.

    Parameters
    ----------
    config : Config
        Task and model; the rest of it is not read here.
    engine, dtype : str
        Where the passes run, on the host (`network.passes` knows the device, too), and the type of all their arrays.
    shards : int
        Number of parts of a batch; more than there are pairs is cut down to one pair each.
    threads : int, optional
        At most this many threads; default: what the process may use.

    Raises
    ------
    EngineError
        The engine is not there, or it is the device.
    """

    def __init__(self, config: Config, engine: str, dtype: str, shards: int, threads: int | None = None) -> None:
        engine, _ = chosen(engine)
        if engine == "cuda":
            do = "take network.passes for the passes of any engine, or train.train for a run"
            raise EngineError("an engine whose arrays are NumPy's, cpu or plain", repr(engine), do)
        engines = [open_engine(engine, dtype) for _ in range(shards)]
        team, size = Team(min(threads or available_threads(), shards)), layout(config).size
        theta, direction = np.zeros(size, dtype), np.zeros(size, dtype)
        self._partial = np.zeros((shards, size), dtype)
        whole = TeamEngine(engines[0], team) if size > ALONE else engines[0]
        super().__init__(config, engines, whole, team, theta, direction, list(self._partial))
        self._recorded: tuple[float, ...] | None = None  # size and task weights of the recorded batch

    def plan(self, tokens: Array) -> Any:
        """Return the plan of a pass over pairs (M, T), int64."""
        return model.plan(self.config, tokens)

    def load(self, tokens: Array, targets: Array) -> None:
        """Take a copy of the batch: tokens (B, T) and targets (n_tasks, B), int64."""
        if len(tokens) != self.size:  # the memory of passes of another size is of no use
            for engine in self.engines:
                engine.release()
        self.size, self._recorded = len(tokens), None
        count = min(len(self.engines), self.size)
        bounds = [self.size * s // count for s in range(count + 1)]
        self.shards = []
        for s, engine in enumerate(self.engines[:count]):
            rows = slice(bounds[s], bounds[s + 1])
            mine = [each[rows].copy() for each in targets]
            self.shards.append(Shard(engine, rows, self.plan(tokens[rows]), mine))

    def gradient(self, tokens: Array, targets: Array, out: Array) -> Array:
        """Load a batch, fill `out` (P,) with its gradient and return the mean losses: a training step's passes.

        The same as load, forward and backward, faster: the calls of the first batch of a size are recorded, and later
        batches, written into its rows and targets, replay them. No tapes are left for the other products.
        """
        recorded = (len(tokens), *self.task_weights)
        if recorded == self._recorded:
            self._rewrite(tokens, targets)
        else:
            self.load(tokens, targets)
        self.team.run(self._gradient, len(self.shards))
        self._recorded = recorded
        self.reduce(out)
        return self._losses()

    def reduce(self, out: Array) -> None:
        """Fill `out` (P,) with the sum of what the shards' last pass left, in their order."""
        self.engine.rows(column_sums, out.size, self._partial[: len(self.shards)], out)

    def _losses(self) -> Array:
        rows = [np.concatenate(each) for each in zip(*(s.losses for s in self.shards), strict=True)]
        return np.array([np.mean(each, dtype=np.float64) for each in rows])

    def _rewrite(self, tokens: Array, targets: Array) -> None:
        """Write a batch over the rows and targets of the recorded one: on one thread, as this is Python."""
        for shard in self.shards:
            model.refill(shard.plan, self.plan(tokens[shard.rows]))
            for mine, target in zip(shard.targets, targets, strict=True):
                mine[:] = target[shard.rows]

    def _gradient(self, s: int) -> None:
        shard = self.shards[s]
        if self._recorded:
            replay(shard.calls)
        else:
            shard.calls = shard.engine.record(lambda: self.forward_and_backward(s))
            shard.tape = shard.dtape = None
