"""The passes over a batch in shards: what they are on every engine.

A shard is a contiguous part of the batch with an engine (and so a workspace) of its own, and one thread runs it whole.
`sharded` has the shards of the CPU, `fleet` the one of a device. `objective.Objective` is the door to both.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array, Calls, Engine
from minigrok.engine.threads import Team
from minigrok.layers import cross_entropy
from minigrok.network import model
from minigrok.network.params import layout


@dataclass
class Shard:
    """One part of the batch, and what its passes left behind for the next ones."""

    engine: Engine
    rows: slice  # of the batch
    plan: Any
    targets: list[Array]  # (B_s,) for each task
    logits: list[Array] = field(default_factory=list)  # (B_s, V) for each task
    losses: list[Array] = field(default_factory=list)  # (B_s,) for each task
    tape: Any = None
    mark: int = 0  # of the workspace after the forward pass
    loss_tapes: list[cross_entropy.Tape] = field(default_factory=list)
    dtape: Any = None
    calls: Calls = field(default_factory=list)  # of the recorded gradient, valid until the next forward or backward
    products: dict[str, Callable[[], None] | None] = field(default_factory=dict)  # recorded ones, valid as long

    def forget(self) -> None:
        """Forget the recordings: other passes will use their memory."""
        self.calls, self.products = [], {}


class Passes(ABC):
    """Passes over a batch at the parameters in `theta`, which belongs to the caller to fill.

    Parameters
    ----------
    config : Config
        Task and model; the rest of it is not read here.
    engines : sequence of Engine
        One a shard, all of one dtype.
    whole : Engine
        For work on whole vectors (P,).
    team : Team
        Runs the shards.
    theta, direction : (P,)
        Buffers of the parameters and of the products' direction.
    gradients : sequence of (P,), one a shard
        Buffers of what a backward pass leaves.
    """

    def __init__(
        self,
        config: Config,
        engines: Sequence[Engine],
        whole: Engine,
        team: Team,
        theta: Array,
        direction: Array,
        gradients: Sequence[Array],
    ) -> None:
        self.config, self.layout = config, layout(config)
        self.engines, self.engine, self.team, self.dtype = list(engines), whole, team, engines[0].dtype
        self.theta, self.direction = theta, direction
        self.w, self._Rw = self.weights(theta), self.weights(direction)
        self._dw = [self.weights(each) for each in gradients]
        self.shards: list[Shard] = []
        self.size = 0
        self.task_weights = np.ones(len(config.task.operations))

    @abstractmethod
    def load(self, tokens: Array, targets: Array) -> None:
        """Take the batch: tokens (B, T) and targets (n_tasks, B), int64."""

    @abstractmethod
    def reduce(self, out: Array) -> None:
        """Fill `out` (P,) with the sum of what the shards' last pass left, in their order."""

    @abstractmethod
    def plan(self, tokens: Array) -> Any:
        """Return the plan of a pass over pairs (M, T), int64."""

    @abstractmethod
    def _losses(self) -> Array:
        """Return the mean losses (n_tasks,) float64 of the last forward pass."""

    def weights(self, flat: Array) -> model.Weights:
        """Return a flat vector (P,) as the network's weights, without a copy."""
        return model.weights(self.layout.views(flat), self.config)

    def forward(self) -> Array:
        """Return the mean loss of each task, (n_tasks,) float64, in nats; keep the tapes."""
        self.team.run(lambda s: self._forward(self.shards[s]), len(self.shards))
        return self._losses()

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

    def rest_vp(self, out: Array) -> None:
        """Fill `out` (P,) with (H - J^T H_logits J) times `self.direction`; needs forward and backward first."""
        self.team.run(lambda s: self._product("rest_vp", s, self._rest_vp), len(self.shards))
        self.reduce(out)

    def jvp(self, out: Array) -> None:
        """Fill `out` (n_tasks, B, V) with J times `self.direction`; needs forward first."""
        self.team.run(lambda s: self._jvp(self.shards[s], out), len(self.shards))

    def forward_and_backward(self, s: int) -> None:
        """Make both passes of shard s, the weights' gradient included."""
        self._forward(self.shards[s])
        self._backward(s, True)

    def _forward(self, shard: Shard) -> None:
        shard.engine.rewind()
        shard.forget()
        shard.logits, shard.tape = model.forward(shard.engine, self.w, shard.plan)
        saturating = self.config.model.cross_entropy == "saturating"
        shard.losses, shard.loss_tapes = [], []
        for logits, target in zip(shard.logits, shard.targets, strict=True):
            loss, tape = cross_entropy.forward(shard.engine, logits, target, saturating)
            shard.losses.append(loss)
            shard.loss_tapes.append(tape)
        shard.mark = shard.engine.mark()

    def _backward(self, s: int, wanted: bool) -> None:
        shard = self.shards[s]
        shard.engine.rewind(shard.mark)  # a former backward pass gives its memory back
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

    def _Rdlogits(self, shard: Shard, Rlogits: list[Array], factor: float = 1.0) -> list[Array]:
        weights = factor * self.task_weights / self.size
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

    def _rest_vp(self, s: int) -> None:
        self._hvp(s, 0.0)  # an R-backward pass of logits whose gradient does not change

    def _hvp(self, s: int, factor: float = 1.0) -> None:
        shard, engine, w, Rw = self.shards[s], self.shards[s].engine, self.w, self._Rw
        Rlogits, rtape = self._r_forward(shard)
        Rdlogits = self._Rdlogits(shard, Rlogits, factor)
        model.r_backward(engine, w, shard.plan, shard.tape, shard.dtape, Rw, rtape, Rdlogits, self._dw[s])

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
