"""The training loop: steps, evaluations, snapshots, checkpoints; nothing else.

One step (the order of arXiv:2602.18523, code aa4e72f): draw a batch, forward, backward, clip the global norm, AdamW.
After step 1 and every `eval_every` steps: loss and accuracy of every task on all train and all test pairs. A task has
grokked at the third evaluation in a row with test accuracy >= 0.98; training stops when the last task has, `after_grok`
steps later, or at `max_steps`.

Everything that decides the next bit is in the checkpoint: parameters, moments, the batch stream, the counters. When it
is written never changes a number, so it is written by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrok.config import Config
from minigrok.counters import Counters
from minigrok.engine import Array, chosen
from minigrok.errors import NonFiniteError, RunFolderError
from minigrok.evaluation import Evaluation
from minigrok.interventions import TABLE, intervener
from minigrok.optim import AdamW, norm
from minigrok.params import initial
from minigrok.planes import plane_of
from minigrok.runs import METRICS, Run
from minigrok.sharded import Sharded
from minigrok.tasks import BatchStream, pairs

CHECKPOINT_SECONDS = 30.0  # a kill costs at most about this much work: our choice

Row = dict[str, float]


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


class Trainer:
    """A run in memory: parameters, optimiser, data stream and counters.

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

    def __init__(
        self,
        config: Config,
        threads: int | None = None,
        theta: Array | None = None,
        plane: Array | None = None,
    ) -> None:
        compute, train = config.compute, config.train
        self.config = config
        self.net = Sharded(config, compute.engine, compute.dtype, compute.shards, threads)
        self.net.theta[:] = initial(config) if theta is None else theta
        self.engine = self.net.engine
        self.adamw = AdamW(config.optimiser, self.engine, self.net.layout.size)
        self.intervener = intervener(config, self.net, self.adamw, plane)
        self.grad = np.zeros_like(self.net.theta)
        data = pairs(config.task, config.seed)
        self.tokens, self.targets = data.tokens[data.train], data.targets[:, data.train]
        self.stream = BatchStream(config.seed, len(data.train), train.batch_size)
        self.evaluations = {
            "train": Evaluation(self.net, self.tokens, self.targets),
            "test": Evaluation(self.net, data.tokens[data.test], data.targets[:, data.test]),
        }
        tasks = len(config.task.operations)
        self.counters = Counters([0] * tasks, [None] * tasks)
        self.grad_norm = float("nan")

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

    def evaluate(self) -> Row:
        """Return a row of metrics at the present step, and update the grok counters."""
        row: Row = {"step": self.counters.step}
        for part, evaluation in self.evaluations.items():
            scores = evaluation.scores()
            for k, task in enumerate(self.config.task.operations):
                row[f"{part}_loss_{task}"] = float(scores.loss[k])
                row[f"{part}_accuracy_{task}"] = float(scores.accuracy[k])
        row["grad_norm"] = self.grad_norm  # of the last batch, before clipping
        row["param_norm"] = norm(self.engine, self.net.theta)
        self._count([row[f"test_accuracy_{task}"] for task in self.config.task.operations])
        return row

    def _count(self, accuracies: list[float]) -> None:
        train, counters = self.config.train, self.counters
        for k, accuracy in enumerate(accuracies):
            counters.streak[k] = counters.streak[k] + 1 if accuracy >= train.grok_threshold else 0
            if counters.grok_step[k] is None and counters.streak[k] >= train.grok_patience:
                counters.grok_step[k] = counters.step

    @property
    def evaluation_due(self) -> bool:
        """Whether the step just made is followed by an evaluation."""
        return self.counters.step == 1 or self.counters.step % self.config.train.eval_every == 0

    def finished(self, after_grok: int) -> bool:
        """Whether the run is at its end; see `Counters.finished`."""
        return self.counters.finished(self.config.train, after_grok)

    def save(self, run: Run) -> None:
        """Write the checkpoint."""
        stream = self.stream.state()
        arrays = {
            "theta": self.net.theta,
            "adam_m": self.adamw.m,
            "adam_v": self.adamw.v,
            "stream_keys": stream["keys"],
        }
        state = vars(self.counters) | {"stream_position": stream["position"], "grad_norm": self.grad_norm}
        if self.intervener:
            state["kicks"] = self.intervener.kicks
        run.save_checkpoint(arrays, state)

    def restore(self, arrays: dict[str, Array], state: dict[str, Any]) -> None:
        """Go to a checkpoint that `save` wrote."""
        self.net.theta[:] = arrays["theta"]
        self.adamw.m[:], self.adamw.v[:] = arrays["adam_m"], arrays["adam_v"]
        self.stream.restore({"keys": arrays["stream_keys"], "position": state["stream_position"]})
        self.counters = Counters.of(state)
        self.adamw.steps = self.counters.step
        self.grad_norm = state["grad_norm"]
        if self.intervener:
            self.intervener.kicks |= state["kicks"]


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
    _begin(trainer, run)
    saved = started = time.monotonic()
    before = trainer.counters.seconds
    try:
        while not trainer.finished(after):
            trainer.step()
            _record(trainer, run, observer)
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
    if trainer.finished(after):
        run.save_snapshot(trainer.counters.step, trainer.net.theta)
    trainer.save(run)
    return trainer.counters


def _begin(trainer: Trainer, run: Run) -> None:
    """Restore the checkpoint, or write the first one; drop what was written after it."""
    checkpoint = run.load_checkpoint()
    if checkpoint:
        trainer.restore(*checkpoint)
    else:
        if 0 in run.snapshots():  # a run that was killed at its start, or was given its parameters
            trainer.net.theta[:] = run.load_snapshot(0)
        trainer.save(run)
    if trainer.counters.step == 0:
        run.save_snapshot(0, trainer.net.theta)
    for table in [METRICS, TABLE] if trainer.intervener else [METRICS]:
        _require_rows(run, table, trainer.counters.step)
        run.truncate_metrics(trainer.counters.step, table)


def _require_rows(run: Run, table: str, step: int) -> None:
    """Raise a RunFolderError unless a table has all evaluations up to a step: they would not be made again."""
    every = run.config.train.eval_every
    expected = sorted({1, *range(every, step + 1, every)}) if step else []
    steps = run.metrics(table).get("step", np.empty(0))
    found = steps[steps <= step].tolist()
    if found != expected:
        got = f"{len(found)} of {len(expected)}" if len(found) != len(expected) else "other steps"
        do = "restore the file from a copy, or train the run anew in another folder"
        raise RunFolderError(f"every evaluation up to step {step:,} in {run.folder}/{table}", got, do)


def _record(trainer: Trainer, run: Run, observer: Observer) -> None:
    step = trainer.counters.step
    if trainer.evaluation_due:
        if trainer.intervener:
            run.append_metrics(trainer.intervener.measure(trainer.grad), TABLE)
        row = trainer.evaluate()
        run.append_metrics(row)
        observer.evaluated(row)
    if step % run.config.train.snapshot_every == 0:
        run.save_snapshot(step, trainer.net.theta)
