"""Training R runs together on a CUDA device: each in its own folder, with its own seed, decay, rate, budget and end.

The steps of all runs are made in one list of kernels (`fleet_step`), in blocks between the evaluations: the host draws
the batches of a block from each run's own stream, in the order of a run alone, and hears nothing until the block is
done. Then every run is evaluated, recorded and counted as `train.train` does it. A run that has ended leaves the fleet,
which becomes smaller.

The bits of a run do not depend on which others run beside it. They are not those of the CPU engine: sums have another
order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigrok.config import Config, Init, Optimiser
from minigrok.counters import Counters
from minigrok.engine import device, open_engine
from minigrok.errors import ConfigError, NonFiniteError
from minigrok.evaluation import Scores
from minigrok.fleet import Fleet
from minigrok.fleet_evaluation import FleetEvaluation
from minigrok.fleet_step import FleetStep
from minigrok.params import initial, layout
from minigrok.runs import Run
from minigrok.tasks import BatchStream, pairs
from minigrok.train import CHECKPOINT_SECONDS, Observer, Trainer, _begin, _record


class Told:
    """An evaluation whose scores come from the fleet."""

    now: Scores

    def scores(self) -> Scores:
        """Return the scores of the last evaluation of the fleet."""
        return self.now


class Lane(Trainer):
    """A run's state on the host: what `Trainer` has, without a network.

    Parameters
    ----------
    run : Run
    after_grok : int
        Steps to go on after the last task has grokked.
    """

    def __init__(self, run: Run, after_grok: int) -> None:
        config = run.config
        self.run, self.config, self.after = run, config, after_grok
        theta = initial(config)
        self.engine = open_engine("cpu", config.compute.dtype)  # type: ignore[assignment]
        self.net = SimpleNamespace(theta=theta, layout=layout(config))  # type: ignore[assignment]
        moments = SimpleNamespace(m=np.zeros_like(theta), v=np.zeros_like(theta), steps=0)
        self.adamw = moments  # type: ignore[assignment]
        self.intervener = None  # `Config` lets an intervention have the other engines only
        data = pairs(config.task, config.seed)
        self.tokens, self.targets = data.tokens[data.train], data.targets[:, data.train]
        self.stream = BatchStream(config.seed, len(data.train), config.train.batch_size)
        self.sets = {
            "train": (self.tokens, self.targets),
            "test": (data.tokens[data.test], data.targets[:, data.test]),
        }
        self.told = {part: Told() for part in self.sets}
        self.evaluations = self.told  # type: ignore[assignment]
        tasks = len(config.task.operations)
        self.counters = Counters([0] * tasks, [None] * tasks)
        self.grad_norm = float("nan")
        self.observer, self.before = Observer(), 0.0  # seconds of former sittings
        self.failure: NonFiniteError | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.failure is not None or self.finished(self.after)

    def steps_to_next(self) -> int:
        """Steps until the host must look: an evaluation, a snapshot, or the end."""
        step, train = self.counters.step, self.config.train
        due = [1 - step] if step == 0 else []
        due += [every - step % every for every in (train.eval_every, train.snapshot_every)]
        ends = [train.max_steps]
        if train.stop_when_grokked and self.counters.last_grok is not None:
            ends.append(self.counters.last_grok + self.after)
        return min(*due, *(end - step for end in ends))


def kind(config: Config) -> Config:
    """Return what a config shares with those that can be trained beside it.

    That is everything but name, seed, optimiser, initial values, budget and stop rule.
    """
    train = replace(
        config.train, max_steps=1, after_grok=0, stop_when_grokked=True, grok_threshold=1.0, grok_patience=1
    )
    return replace(config, name="any", seed=0, optimiser=Optimiser(), init=Init(), train=train)


def together(
    runs: Sequence[Run], after_grok: int | None = None, observers: Sequence[Observer] | None = None
) -> list[Lane]:
    """Train runs from their checkpoints, or from the start, to their ends.

    Parameters
    ----------
    runs : sequence of Run
        Locked, and of one `kind`.
    after_grok : int, optional
        As in `train.train`, for all.
    observers : sequence of Observer, optional
        One a run; asked after each block of steps. A stop of one stops all.

    Returns
    -------
    list of Lane
        How each run ended: `counters`, and `failure` where it diverged; the last finite state is saved.

    Raises
    ------
    ConfigError       the runs do not go together
    EngineError       no device, too little memory on it, or it was lost: then the last checkpoints stand
    RunFolderError    a folder cannot be read or written
    """
    if len({kind(run.config) for run in runs}) > 1:
        required = "runs that differ in seed, optimiser, initial values, budget and stop rule alone"
        raise ConfigError(required, f"{len(runs)} runs of several kinds", "train each kind by itself")
    lanes = [Lane(r, r.config.train.after_grok if after_grok is None else after_grok) for r in runs]
    for lane, observer in zip(lanes, observers or [Observer() for _ in runs], strict=True):
        _begin(lane, lane.run)
        lane.before, lane.observer = lane.counters.seconds, observer
    stopped, started = False, time.monotonic()
    while not stopped and (live := [lane for lane in lanes if not lane.ended]):
        try:
            stopped = _sail(live, started)
        except Exception as error:
            raise device.lost(error) from error
    for lane in lanes:
        if lane.finished(lane.after):
            lane.run.save_snapshot(lane.counters.step, lane.net.theta)
        lane.save(lane.run)
    return lanes


def train_alone(run: Run, after_grok: int | None = None, observer: Observer | None = None) -> Counters:
    """Train one run; arguments, result and errors as of `train.train`."""
    (lane,) = together([run], after_grok, [observer or Observer()])
    if lane.failure is not None:
        raise lane.failure
    return lane.counters


def _sail(lanes: list[Lane], started: float) -> bool:
    """Train the lanes until one of them ends; return whether somebody asked to stop."""
    crew, saved = Crew(lanes), time.monotonic()
    while True:
        crew.advance(min(lane.steps_to_next() for lane in lanes))
        if any(lane.evaluation_due for lane in lanes):
            crew.evaluate()
        now = time.monotonic()
        for lane in lanes:
            lane.counters.seconds = lane.before + now - started
            if lane.failure is None:
                _record(lane, lane.run, lane.observer)
            lane.observer.stepped(lane.counters.step)
        if now - saved > CHECKPOINT_SECONDS:
            saved = now
            for lane in lanes:
                lane.save(lane.run)
        asked = [lane.observer.stop() for lane in lanes]
        if any(asked) or any(lane.ended for lane in lanes):
            return any(asked)


class Crew:
    """Lanes on the device."""

    def __init__(self, lanes: list[Lane]) -> None:
        config = lanes[0].config
        self.lanes = lanes
        self.fleet = Fleet(config, config.compute.dtype, len(lanes))
        self.step = FleetStep(
            self.fleet, [x.tokens for x in lanes], [x.targets for x in lanes], config.train.batch_size
        )
        self.fleet.theta[:] = np.stack([lane.net.theta for lane in lanes])
        self.step.m[:] = np.stack([lane.adamw.m for lane in lanes])
        self.step.v[:] = np.stack([lane.adamw.v for lane in lanes])
        self.evaluations = {
            part: FleetEvaluation(self.fleet, [lane.sets[part] for lane in lanes]) for part in ("train", "test")
        }

    def advance(self, steps: int) -> None:
        """Make steps, and bring all that the host must know back to the lanes."""
        lanes = self.lanes
        before = [lane.stream.state() for lane in lanes]
        batches = np.stack([[lane.stream.next() for _ in range(steps)] for lane in lanes]).astype(np.int64)
        self.step.block(batches, [lane.config.optimiser for lane in lanes], [lane.counters.step for lane in lanes])
        states = self.step.state.host().astype(np.float64)
        stacks: list[Any] = [self.fleet.theta, self.step.m, self.step.v]
        host = [stack.host() for stack in stacks]
        for r, lane in enumerate(lanes):
            lane.net.theta[:], lane.adamw.m[:], lane.adamw.v[:] = (each[r] for each in host)
            norm, goes_on, made = states[r]
            lane.counters.step += int(made)
            lane.adamw.steps = lane.counters.step
            if made:
                lane.grad_norm = float(norm)
            if not goes_on:
                _diverged(lane, before[r], int(made))

    def evaluate(self) -> None:
        """Score all lanes on all pairs."""
        for part, evaluation in self.evaluations.items():
            for lane, scores in zip(self.lanes, evaluation.scores(), strict=True):
                lane.told[part].now = scores


def _diverged(lane: Lane, before: dict[str, object], made: int) -> None:
    """Put the stream where it was before the step that failed, and say what happened."""
    lane.stream.restore(before)
    for _ in range(made):
        lane.stream.next()
    step = lane.counters.step + 1
    lane.failure = NonFiniteError(
        required="a finite loss and gradient",
        got=f"another one at step {step} of {lane.run.folder}",
        do="lower optimiser.learning_rate, or look at the last snapshots; the state is saved as it was before",
    )
