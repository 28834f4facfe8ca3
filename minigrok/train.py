"""The training loop: steps, evaluations, snapshots, checkpoints; nothing else.

One step (the order of arXiv:2602.18523, code aa4e72f): draw a batch, forward, backward, clip the global norm, AdamW.
What is written after it, and when a task has grokked: `run_state`. Training stops when the last task has, `after_grok`
steps later, or at `max_steps`. When a checkpoint is written never changes a number, so it is written by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrok.config import Config
from minigrok.counters import Counters
from minigrok.engine import Array, chosen
from minigrok.errors import NonFiniteError
from minigrok.interventions import TABLE, intervener
from minigrok.network.evaluation import Evaluation, Scores
from minigrok.network.params import initial
from minigrok.network.sharded import Sharded
from minigrok.optim import AdamW, norm
from minigrok.planes import plane_of
from minigrok.run_state import Row, RunState
from minigrok.storage.runs import METRICS, Run

if TYPE_CHECKING:
    from minigrok.fleet_train import Replay

CHECKPOINT_SECONDS = 30.0  # a kill costs at most about this much work: our choice


@dataclass
class Observer:
    """What the caller sees and says while a run goes on; the default does nothing.

    Attributes
    ----------
    stepped : called with the number of steps done after each step
    evaluated : called with each row of metrics
    stop : asked after each step; True saves the state and ends the sitting
    """

    stepped: Callable[[int], None] = field(default=lambda step: None)
    evaluated: Callable[[Row], None] = field(default=lambda row: None)
    stop: Callable[[], bool] = field(default=lambda: False)


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
    """

    adamw: AdamW

    def __init__(
        self,
        config: Config,
        threads: int | None = None,
        theta: Array | None = None,
        plane: Array | None = None,
    ) -> None:
        compute = config.compute
        self.net = Sharded(config, compute.engine, compute.dtype, compute.shards, threads)
        self.net.theta[:] = initial(config) if theta is None else theta
        adamw = AdamW(config.optimiser, self.net.engine, self.net.layout.size)
        super().__init__(config, self.net.engine, self.net.theta, adamw)
        self.intervener = intervener(config, self.net, self.adamw, plane)
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
            Loss or gradient is NaN or infinite; parameters, moments and data stream are those before the step.
        """
        before = self.stream.state()
        batch = self.stream.next()
        losses = self.net.gradient(self.tokens[batch], self.targets[:, batch], self.grad)
        grad_norm = norm(self.engine, self.grad)
        if not (np.isfinite(losses).all() and np.isfinite(grad_norm)):
            self.stream.restore(before)
            raise NonFiniteError(
                required="a finite loss and gradient",
                got=f"losses {losses.tolist()}, gradient norm {grad_norm} at step {self.counters.step + 1}",
                do="lower optimiser.learning_rate, or look at the last snapshots; the state is saved as it was before",
            )
        self.grad_norm = grad_norm
        if self.intervener:
            self.intervener.step(self.grad, grad_norm)
        else:
            self.adamw.step(self.net.theta, self.grad, grad_norm)
        self.counters.step += 1
        return losses

    def scores(self, part: str) -> Scores:
        """Return loss and accuracy on all "train" or all "test" pairs."""
        return self.evaluations[part].scores()

    def more(self) -> dict[str, Any]:
        """Return the intervention's kicks."""
        return {"kicks": self.intervener.kicks} if self.intervener else {}

    def restore(self, arrays: dict[str, Array], state: dict[str, Any]) -> None:
        """Go to a checkpoint that `save` wrote."""
        super().restore(arrays, state)
        if self.intervener:
            self.intervener.kicks |= state["kicks"]

    @property
    def tables(self) -> list[str]:
        """The metrics, and the intervention's."""
        return [METRICS, TABLE] if self.intervener else [METRICS]

    def record(self, run: Run) -> Row | None:
        """Write what is due after the step just made, the intervention's row before that of the metrics."""
        if self.intervener and self.evaluation_due:
            run.append_metrics(self.intervener.measure(self.grad), TABLE)
        return super().record(run)


def trainer_of(run: Run) -> Trainer | Replay:
    """Return what makes steps of a run again, nothing restored and nothing recorded, on the engine of its config."""
    if chosen(run.config.compute.engine)[0] == "cuda":
        from minigrok.fleet_train import Replay

        return Replay(run)
    return Trainer(run.config)


def train(
    run: Run,
    threads: int | None = None,
    after_grok: int | None = None,
    observer: Observer | None = None,
) -> Counters:
    """Train a run from its checkpoint, or from the start, to its end.

    Parameters
    ----------
    run : Run
        A locked run folder (`runs.create`, or `runs.open_run` and `lock`).
    threads : int, optional
        See `Trainer`.
    after_grok : int, optional
        Steps to go on after the last task has grokked; default: the config's.
    observer : Observer, optional

    Returns
    -------
    Counters
        Where the run ended; `trainer.finished` tells whether that is its end.

    Raises
    ------
    NonFiniteError
        After saving the last finite state.
    RunFolderError
        The folder cannot be read or written.

    Notes
    -----
    After any other exception the last checkpoint stands, from which the lost steps are made again: a state in the
    middle of a step, or past a row of metrics that found no room, is never saved.
    """
    if chosen(run.config.compute.engine)[0] == "cuda":
        from minigrok.fleet_train import train_alone

        return train_alone(run, after_grok, observer)
    observer = observer or Observer()
    trainer = Trainer(run.config, threads, plane=plane_of(run))
    after = run.config.train.after_grok if after_grok is None else after_grok
    trainer.begin(run)
    saved = started = time.monotonic()
    before = trainer.counters.seconds
    try:
        while not trainer.finished(after):
            trainer.step()
            row = trainer.record(run)
            if row:
                observer.evaluated(row)
            now = time.monotonic()
            trainer.counters.seconds = before + now - started
            if now - saved > CHECKPOINT_SECONDS:
                trainer.save(run)
                saved = now
            observer.stepped(trainer.counters.step)
            if observer.stop():
                break
    except NonFiniteError:
        trainer.save(run)
        raise
    trainer.close(run, after)
    return trainer.counters
