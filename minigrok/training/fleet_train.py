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
from typing import Any

import numpy as np

from minigrok.config import Config, Init, Optimiser, Train
from minigrok.engine import Array, device, open_engine
from minigrok.errors import ConfigError, NonFiniteError
from minigrok.network.evaluation import Scores
from minigrok.network.fleet import Fleet
from minigrok.network.fleet_evaluation import FleetEvaluation
from minigrok.network.params import initial
from minigrok.storage.runs import Run
from minigrok.training.counters import Counters
from minigrok.training.fleet_step import FleetStep
from minigrok.training.observer import CHECKPOINT_SECONDS, Observer
from minigrok.training.optim import Moments
from minigrok.training.run_state import RunState


class Lane(RunState):
    """A run whose steps and scores come from a fleet.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        config, theta = run.config, initial(run.config)
        super().__init__(config, open_engine("cpu", config.compute.dtype), theta, Moments(theta.size, theta.dtype))
        self.run = run
        self.told: dict[str, Scores] = {}  # by the fleet's last evaluation
        self.observer, self.before = Observer(), 0.0  # seconds of former sittings
        self.failure: NonFiniteError | None = None

    def scores(self, part: str) -> Scores:
        """Return what the fleet found at its last evaluation."""
        return self.told[part]

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.failure is not None or self.finished

    def steps_to_next(self, after: int = 0) -> int:
        """Steps until the host must look: an evaluation, a snapshot, or the end; `after` so many more, 0 at the end."""
        step, train = self.counters.step + after, self.config.train
        due = [1 - step] if step == 0 else []
        due += [every - step % every for every in (train.eval_every, train.snapshot_every)]
        ends = [train.max_steps]
        if train.stop_when_grokked and self.counters.last_grok is not None:
            ends.append(self.counters.last_grok + train.after_grok)
        return min(*due, *(end - step for end in ends))


def kind(config: Config) -> Config:
    """Return what a config shares with those that can be trained beside it.

    That is everything but name, seed, optimiser, initial values, and of [train] all but the size of a batch.
    """
    train = Train(batch_size=config.train.batch_size)
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
        required = "runs that differ in seed, optimiser, initial values, budget, records and stop rule alone"
        raise ConfigError(required, f"{len(runs)} runs of several kinds", "train each kind by itself")
    lanes = [Lane(run) for run in runs]
    for lane, observer in zip(lanes, observers or [Observer() for _ in runs], strict=True):
        lane.begin(lane.run, after_grok)
        lane.before, lane.observer = lane.counters.seconds, observer
    stopped, started = False, time.monotonic()
    while not stopped and (live := [lane for lane in lanes if not lane.ended]):
        try:
            stopped = _sail(live, started)
        except Exception as error:
            raise device.lost(error) from error
    for lane in lanes:
        lane.close(lane.run)
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
        steps = min(lane.steps_to_next() for lane in lanes)
        crew.advance(steps, min(lane.steps_to_next(steps) for lane in lanes))
        if any(lane.evaluation_due for lane in lanes):
            crew.evaluate()
        now = time.monotonic()
        for lane in lanes:
            lane.counters.seconds = lane.before + now - started
            if lane.failure is None:
                row = lane.record(lane.run)
                if row:
                    lane.observer.evaluated(row)
            lane.observer.stepped(lane.counters.step)
        if now - saved > CHECKPOINT_SECONDS:
            saved = now
            crew.fetch_moments()
            for lane in lanes:
                lane.save(lane.run)
        asked = [lane.observer.stop() for lane in lanes]
        if any(asked) or any(lane.ended for lane in lanes):
            crew.fetch_moments()
            return any(asked)


class Drawer:
    """The lanes' batches, those of the next block drawn while the device is busy with this one.

    A lane's own stream is always where the lane is; what is drawn ahead is thrown away if another number is asked for.
    """

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self._ahead: tuple[Array, list[Any]] | None = None  # batches, and the streams' states after them

    def draw(self, steps: int) -> Array:
        """Return the next batches of each lane, (R, steps, B) int64, and go on behind them."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0].shape[1] != steps:
            return self._drawn(steps)
        self._restore(ahead[1])
        return ahead[0]

    def draw_ahead(self, steps: int) -> None:
        """Draw the batches of so many steps; the streams stay where they are."""
        here = self._states()
        self._ahead = self._drawn(steps), self._states()
        self._restore(here)

    def _drawn(self, steps: int) -> Array:
        return np.stack([np.stack([lane.stream.next() for _ in range(steps)]) for lane in self._lanes])

    def _states(self) -> list[Any]:
        return [lane.stream.state() for lane in self._lanes]

    def _restore(self, states: list[Any]) -> None:
        for lane, state in zip(self._lanes, states, strict=True):
            lane.stream.restore(state)


class Crew:
    """Lanes on the device."""

    def __init__(self, lanes: list[Lane]) -> None:
        config = lanes[0].config
        self.lanes = lanes
        self.fleet = Fleet(config, config.compute.dtype, len(lanes))
        self.step = FleetStep(
            self.fleet, [x.tokens for x in lanes], [x.targets for x in lanes], config.train.batch_size
        )
        self.load()
        self._drawer = Drawer(lanes)
        self.evaluations = {
            part: FleetEvaluation(self.fleet, [lane.sets[part] for lane in lanes]) for part in lanes[0].sets
        }

    def load(self) -> None:
        """Bring the lanes' parameters and moments to the device."""
        self.fleet.theta[:] = np.stack([lane.theta for lane in self.lanes])
        self.step.m[:] = np.stack([lane.adamw.m for lane in self.lanes])
        self.step.v[:] = np.stack([lane.adamw.v for lane in self.lanes])

    def fetch_moments(self) -> None:
        """Bring the moments back to the lanes."""
        for r, (m, v) in enumerate(zip(self.step.m.host(), self.step.v.host(), strict=True)):
            self.lanes[r].adamw.m[:], self.lanes[r].adamw.v[:] = m, v

    def advance(self, steps: int, ahead: int = 0) -> None:
        """Make steps, and bring back what the host must know between checkpoints: all but the moments.

        Parameters
        ----------
        steps : int
        ahead : int    steps of the next block, if that is known: their batches are drawn while the device is busy
        """
        lanes = self.lanes
        before = [lane.stream.state() for lane in lanes]
        batches = self._drawer.draw(steps)
        self.step.block(batches, [lane.config.optimiser for lane in lanes], [lane.adamw.steps for lane in lanes])
        if ahead:
            self._drawer.draw_ahead(ahead)
        states = self.step.state.host().astype(np.float64)
        theta: Any = self.fleet.theta
        for r, (lane, mine) in enumerate(zip(lanes, theta.host(), strict=True)):
            lane.theta[:] = mine
            norm, goes_on, made = states[r]
            lane.counters.step += int(made)
            lane.adamw.steps += int(made)
            if made:
                lane.grad_norm = float(norm)
            if not goes_on:
                _diverged(lane, before[r], int(made))

    def evaluate(self) -> None:
        """Score all lanes on all pairs."""
        for part, evaluation in self.evaluations.items():
            for lane, scores in zip(self.lanes, evaluation.each(), strict=True):
                lane.told[part] = scores


class Replay(Lane):
    """Single steps of a run on the device, the same bits as in its training."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.grad = np.zeros_like(self.theta)
        self._crew = Crew([self])

    def step(self) -> None:
        """Make one step from theta and the moments as they are, and fill `grad` (P,); errors as of `Trainer.step`."""
        self._crew.load()
        self._crew.advance(1)
        self._crew.fetch_moments()
        if self.failure is not None:
            raise self.failure
        self.grad[:] = self._crew.fleet.gradients


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
