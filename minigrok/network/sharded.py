"""The network over a batch in a fixed number of shards, each run whole by one thread.

A shard is a contiguous part of the batch with an engine (and so a workspace) of its own. Partial sums are combined in
the order of the shards, so the result depends on the number of shards, which the config states, and never on the number
of threads.

`Sharded` is the machine room: explicit passes over buffers. `objective.Objective` is the door.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array, Calls, Engine, chosen, open_engine, portable, replay
from minigrok.engine.threads import Team, TeamEngine, available_threads
from minigrok.errors import EngineError
from minigrok.layers import cross_entropy
from minigrok.layers.sums import column_sums
from minigrok.network import model
from minigrok.network.params import layout


@dataclass
class Shard:
    """One part of the batch, and what its passes left behind for the next ones."""

    engine: Engine
    rows: slice = field(default_factory=lambda: slice(0, 0))  # of the batch
    plan: Any = None
    targets: list[Array] = field(default_factory=list)  # (B_s,) for each task
    logits: list[Array] = field(default_factory=list)  # (B_s, V) for each task
    losses: list[Array] = field(default_factory=list)  # (B_s,) for each task
    tape: Any = None
    loss_tapes: list[cross_entropy.Tape] = field(default_factory=list)
    dtape: Any = None
    calls: Calls = field(default_factory=list)  # of the recorded gradient, valid until the next forward or backward
    products: dict[str, Callable[[], None] | None] = field(default_factory=dict)  # recorded ones, valid as long

    def forget(self) -> None:
        """Forget the recordings: other passes will use their memory."""
        self.calls, self.products = [], {}


class Sharded:
    """Passes over a batch at the parameters in `theta`, which belongs to the caller to fill.

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
        if config.compute.portable:
            portable.require()
        self.config, self.layout = config, layout(config)
        engine, _ = chosen(engine)
        if engine == "cuda":
            do = "take network.passes for the passes of any engine, or train.train for a run"
            raise EngineError("an engine whose arrays are NumPy's, cpu or plain", repr(engine), do)
        self.engines = [open_engine(engine, dtype) for _ in range(shards)]
        self.dtype = self.engines[0].dtype
        self.team = Team(min(threads or available_threads(), shards))
        self.engine = TeamEngine(self.engines[0], self.team)
        self.theta = np.zeros(self.layout.size, self.dtype)
        self.direction = np.zeros(self.layout.size, self.dtype)
        self.w = self.weights(self.theta)
        self._Rw = self.weights(self.direction)
        self._partial = np.zeros((shards, self.layout.size), self.dtype)
        self._dw = [self.weights(part) for part in self._partial]
        self.shards: list[Shard] = []
        self._recorded: tuple[float, ...] | None = None  # size and task weights of the recorded batch
        self.size = 0
        self.task_weights = np.ones(len(config.task.operations))

    def weights(self, flat: Array) -> model.Weights:
        """Return a flat vector (P,) as the network's weights, without a copy."""
        return model.weights(self.layout.views(flat), self.config)

    def plan(self, tokens: Array) -> Any:
        """Return the plan of a pass over pairs (M, T), int64."""
        return model.plan(self.config, tokens)

    def load(self, tokens: Array, targets: Array) -> None:
        """Take the batch: tokens (B, T) and targets (n_tasks, B), int64."""
        self.tokens, self.size, self._recorded = tokens, tokens.shape[0], None
        count = min(len(self.engines), self.size)
        bounds = [self.size * s // count for s in range(count + 1)]
        self.shards = [Shard(e) for e in self.engines[:count]]
        for s, shard in enumerate(self.shards):
            shard.rows = slice(bounds[s], bounds[s + 1])
            shard.targets = [np.ascontiguousarray(t[shard.rows]) for t in targets]

    def gradient(self, tokens: Array, targets: Array, out: Array) -> Array:
        """Load a batch, fill `out` (P,) with its gradient and return the mean losses: a training step's passes.

        The same as load, forward and backward, faster: the calls of the first batch of a size are recorded, and later
        batches, written into its rows and targets, replay them. No tapes are left for the other products.
        """
        recorded = (len(tokens), *self.task_weights)
        if recorded != self._recorded:
            self.load(tokens, targets)
        self.team.run(lambda s: self._gradient(s, tokens, targets), len(self.shards))
        self._recorded = recorded
        self.reduce(out)
        return self._losses()

    def forward(self) -> Array:
        """Return the mean loss of each task, (n_tasks,) float64, in nats; keep the tapes."""
        self.team.run(lambda s: self._forward(self.shards[s]), len(self.shards))
        return self._losses()

    def _losses(self) -> Array:
        rows = [np.concatenate(each) for each in zip(*(s.losses for s in self.shards), strict=True)]
        return np.array([np.mean(each, dtype=np.float64) for each in rows])

    def backward(self, out: Array | None) -> None:
        """Keep the cotangents; fill `out` (P,) with the gradient of the weighted sum of losses unless None."""
        wanted = out is not None
        self.team.run(lambda s: self._backward(s, wanted), len(self.shards))
        if out is not None:
            self.reduce(out)

    def hvp(self, out: Array) -> None:
        """Fill `out` (P,) with the Hessian times `self.direction`; needs forward and backward first."""
        self.team.run(lambda s: self._product("hvp", s, self._hvp), len(self.shards))
        self.reduce(out)

    def ggn_vp(self, out: Array) -> None:
        """Fill `out` (P,) with J^T H_logits J times `self.direction`; needs forward first."""
        self.team.run(lambda s: self._product("ggn_vp", s, self._ggn_vp), len(self.shards))
        self.reduce(out)

    def jvp(self, out: Array) -> None:
        """Fill `out` (n_tasks, B, V) with J times `self.direction`; needs forward first."""
        self.team.run(lambda s: self._jvp(self.shards[s], out), len(self.shards))

    def reduce(self, out: Array) -> None:
        """Fill `out` (P,) with the sum of what the shards' last pass left, in their order."""
        self.engine.rows(column_sums, out.size, self._partial[: len(self.shards)], out)

    def _gradient(self, s: int, tokens: Array, targets: Array) -> None:
        shard = self.shards[s]
        if not self._recorded:
            shard.calls = shard.engine.record(lambda: self.forward_and_backward(s))
            shard.tape = shard.dtape = None
            return
        model.refill(shard.plan, model.plan(self.config, tokens[shard.rows]))
        for mine, target in zip(shard.targets, targets, strict=True):
            mine[:] = target[shard.rows]
        replay(shard.calls)

    def forward_and_backward(self, s: int) -> None:
        """Make both passes of shard s, the weights' gradient included."""
        self._forward(self.shards[s])
        self._backward(s, True)

    def _forward(self, shard: Shard) -> None:
        shard.engine.rewind()
        shard.forget()
        if shard.plan is None:
            shard.plan = self.plan(self.tokens[shard.rows])
        shard.logits, shard.tape = model.forward(shard.engine, self.w, shard.plan)
        saturating = self.config.model.cross_entropy == "saturating"
        shard.losses, shard.loss_tapes = [], []
        for logits, target in zip(shard.logits, shard.targets, strict=True):
            loss, tape = cross_entropy.forward(shard.engine, logits, target, saturating)
            shard.losses.append(loss)
            shard.loss_tapes.append(tape)

    def _backward(self, s: int, wanted: bool) -> None:
        shard = self.shards[s]
        shard.forget()
        weights = self.task_weights / self.size
        dlogits = [
            cross_entropy.backward(shard.engine, tape, weight)
            for tape, weight in zip(shard.loss_tapes, weights, strict=True)
        ]
        dw = self._dw[s] if wanted else None
        shard.dtape = model.backward(shard.engine, self.w, shard.plan, shard.tape, dlogits, dw)

    def _r_forward(self, shard: Shard) -> tuple[list[Array], Any]:
        return model.r_forward(shard.engine, self.w, shard.plan, shard.tape, self._Rw)

    def _Rdlogits(self, shard: Shard, Rlogits: list[Array]) -> list[Array]:
        weights = self.task_weights / self.size
        return [
            cross_entropy.r_backward(shard.engine, tape, weight, Rx)
            for tape, weight, Rx in zip(shard.loss_tapes, weights, Rlogits, strict=True)
        ]

    def _product(self, name: str, s: int, work: Callable[[int], None]) -> None:
        """Do `work(s)` in memory after the tapes; the second direction at a point is recorded, later ones replay it."""
        shard = self.shards[s]
        if again := shard.products.get(name):
            again()
            return
        mark = shard.engine.mark()
        if name in shard.products:
            shard.products[name] = shard.engine.graph(shard.engine.record(lambda: work(s)))
        else:
            shard.products[name] = None  # a point that sees one direction alone costs no recording
            work(s)
        shard.engine.rewind(mark)

    def _hvp(self, s: int) -> None:
        shard = self.shards[s]
        Rlogits, rtape = self._r_forward(shard)
        Rdlogits = self._Rdlogits(shard, Rlogits)
        model.r_backward(
            shard.engine,
            self.w,
            shard.plan,
            shard.tape,
            shard.dtape,
            self._Rw,
            rtape,
            Rdlogits,
            self._dw[s],
        )

    def _ggn_vp(self, s: int) -> None:
        shard = self.shards[s]
        Rlogits, _ = self._r_forward(shard)
        Rdlogits = self._Rdlogits(shard, Rlogits)
        model.backward(shard.engine, self.w, shard.plan, shard.tape, Rdlogits, self._dw[s])

    def _jvp(self, shard: Shard, out: Array) -> None:
        mark = shard.engine.mark()
        Rlogits, _ = self._r_forward(shard)
        for k, Rx in enumerate(Rlogits):
            out[k, shard.rows] = Rx
        shard.engine.rewind(mark)
