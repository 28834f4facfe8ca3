"""A run in memory that makes its own steps, on the CPU.

One step (the order of arXiv:2602.18523, code aa4e72f): draw a batch, forward, backward, clip the global norm, AdamW.
"""

from typing import Any

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array, portable
from minigrok.errors import NonFiniteError
from minigrok.network.evaluation import Evaluation, Scores
from minigrok.network.params import initial, members
from minigrok.network.sharded import Sharded
from minigrok.storage.runs import METRICS, Run
from minigrok.training.interventions import TABLE, intervener
from minigrok.training.optim import AdamW, Frozen, has_square, norm
from minigrok.training.run_state import Row, RunState


class Trainer(RunState):
    """A run in memory that makes its own steps, on an engine of this machine's CPU.

    Parameters
    ----------
    config : Config
    threads : int, optional
        Default: all that the process may use, at most one a shard. Never changes a bit.
    theta : (P,), optional
        Initial parameters; default: `params.initial(config)`.
    plane : (K, P), optional
        Rows of the plane that the config's intervention acts in, from `planes.plane_of`.

    Raises
    ------
    EngineError
        Portable mode is asked for and not in force.
    """

    adamw: AdamW

    def __init__(
        self, config: Config, threads: int | None = None, theta: Array | None = None, plane: Array | None = None
    ) -> None:
        compute = config.compute
        if compute.portable:
            portable.require()
        self.net = Sharded(config, compute.engine, compute.dtype, compute.shards, threads)
        self.net.theta[:] = initial(config) if theta is None else theta
        adamw = AdamW(config.optimiser, self.net.engine, self.net.layout.size)
        super().__init__(config, self.net.engine, self.net.theta, adamw)
        self.intervener = intervener(config, self.net, self.adamw, plane)
        self.frozen = Frozen(config.optimiser, members(config, config.optimiser.frozen))
        self.grad = np.zeros_like(self.net.theta)
        self.evaluations = {part: Evaluation(self.net, *both) for part, both in self.sets.items()}

    def step(self) -> Array:
        """Make one optimiser step.

        Returns
        -------
        losses : (n_tasks,) float64
            Of the batch, at the parameters before the step, in nats.

        Raises
        ------
        NonFiniteError
            Loss or gradient is NaN or infinite, or the square of the clipped gradient, which the second moment needs;
            parameters, moments and data stream are those before the step.
        """
        # draw a batch
        before = self.stream.state()
        batch = self.stream.next()
        # forward and backward
        losses = self.net.gradient(self.tokens[batch], self.targets[:, batch], self.grad)
        kept = self.frozen.before(self.adamw.steps + 1, self.grad, self.net.theta)
        grad_norm = norm(self.engine, self.grad)
        # a step that could not be finite is not made: the stream goes back
        is_finite = np.isfinite(losses).all() and np.isfinite(grad_norm)
        if not (is_finite and has_square(min(grad_norm, self.config.optimiser.clip_norm), self.net.dtype)):
            self.stream.restore(before)
            raise NonFiniteError(
                required="a finite loss and gradient",
                got=f"losses {losses.tolist()}, gradient norm {grad_norm} at step {self.counters.step + 1}",
                do="lower optimiser.learning_rate, or look at the last snapshots; the state is saved as it was before",
            )
        # clip the global norm, AdamW; or what the intervention makes of both
        self.grad_norm = grad_norm
        if self.intervener:
            self.intervener.step(self.grad, grad_norm)
        else:
            self.adamw.step(self.net.theta, self.grad, grad_norm)
        self.frozen.after(kept, self.net.theta, self.adamw.m)
        self.counters.step += 1
        return losses

    def advance(self) -> None:
        """Make one optimiser step; an error of `step` becomes `failure`."""
        try:
            self.step()
        except NonFiniteError as error:
            self.failure = error

    def fetch(self) -> None:
        """All of the state is here."""

    def scores(self, part: str) -> Scores:
        """Return loss and accuracy on all "train" or all "test" pairs."""
        return self.evaluations[part].scores()

    def content(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return arrays and state of a checkpoint, the intervention's memory among them."""
        arrays, state = super().content()
        return arrays | (self.intervener.memory if self.intervener else {}), state

    def more(self) -> dict[str, Any]:
        """Return the intervention's kicks."""
        return {"kicks": self.intervener.kicks} if self.intervener else {}

    def restore(self, arrays: dict[str, Array], state: dict[str, Any]) -> None:
        """Go to a checkpoint that `save` wrote."""
        super().restore(arrays, state)
        if self.intervener:
            self.intervener.kicks |= state["kicks"]
            for name, memory in self.intervener.memory.items():
                memory[:] = arrays[name]

    @property
    def tables(self) -> list[str]:
        """The metrics, and the intervention's."""
        return [METRICS, TABLE] if self.intervener else [METRICS]

    def record(self, run: Run) -> Row | None:
        """Write what is due after the step just made, the intervention's row before that of the metrics."""
        if self.intervener and self.evaluation_due and not self.broken():
            run.append_metrics(self.intervener.measure(self.grad), TABLE)
        return super().record(run)
