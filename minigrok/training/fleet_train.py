"""Training R runs together on a CUDA device: each in its own folder, with its own seed, decay, rate, budget and end.

The steps of all runs are made in one list of kernels (`fleet_step`), in blocks between the evaluations: the host draws
the batches of a block from each run's own stream, in the order of a run alone, and hears nothing until the block is
done. Then every run is scored, and recorded as a run on the CPU is (`loop`). A run that has ended leaves the others,
which go on in a smaller fleet.

The bits of a run do not depend on which others run beside it. They are not those of the CPU engine: sums have another
order.
"""

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
from minigrok.network.params import initial, members
from minigrok.storage.runs import Run
from minigrok.training.fleet_step import FleetStep
from minigrok.training.loop import Sitting, until_one_ends
from minigrok.training.observer import Observer
from minigrok.training.optim import Moments
from minigrok.training.run_state import RunState


class Replica(RunState):
    """A run whose steps and scores come from `Replicas`.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        theta = initial(config)
        super().__init__(config, open_engine("cpu", config.compute.dtype), theta, Moments(theta.size, theta.dtype))
        self.last_scores: dict[str, Scores] = {}  # of each part

    def scores(self, part: str) -> Scores:
        """Return what the device found at its last evaluation."""
        return self.last_scores[part]

    def steps_to_next(self, after: int = 0) -> int:
        """Steps until the host must look: an evaluation, a snapshot, or the end; `after` so many more, 0 at the end."""
        step, train = self.counters.step + after, self.config.train
        due = [1 - step] if step == 0 else []
        due += [every - step % every for every in (train.eval_every, train.snapshot_every)]
        return min(*due, self.counters.end(train) - step)

    def diverged(self, before: dict[str, object], made: int) -> None:
        """Put the stream where it was before the step that failed, and note the failure.

        Parameters
        ----------
        before : dict    state of the stream before the block
        made : int       steps of the block that were made
        """
        self.stream.restore(before)
        for _ in range(made):
            self.stream.next()
        self.failure = NonFiniteError(
            required="a finite loss and gradient",
            got=f"another one at step {self.counters.step + 1} of {self.config.name}",
            do="lower optimiser.learning_rate, or look at the last snapshots; the state is saved as it was before",
        )


def kind(config: Config) -> Config:
    """Return what a config shares with those that can be trained beside it.

    That is everything but name, seed, optimiser, initial values, and of [train] all but the size of a batch.
    """
    train = Train(batch_size=config.train.batch_size)
    return replace(config, name="any", seed=0, optimiser=Optimiser(), init=Init(), train=train)


def together(
    runs: Sequence[Run], after_grok: int | None = None, observers: Sequence[Observer] | None = None
) -> list[Replica]:
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
    list of Replica
        How each run ended: `counters`, and `failure` where it diverged; its checkpoint is finite.

    Raises
    ------
    ConfigError       the runs do not go together
    EngineError       no device, too little memory on it, or it was lost: then the last checkpoints stand
    RunFolderError    a folder cannot be read or written
    """
    if len({kind(run.config) for run in runs}) > 1:
        required = "runs that differ in seed, optimiser, initial values, budget, records and stop rule alone"
        raise ConfigError(required, f"{len(runs)} runs of several kinds", "train each kind by itself")
    replicas = [Replica(run.config) for run in runs]
    sittings = [Sitting(*each) for each in zip(runs, replicas, observers or [Observer() for _ in runs], strict=True)]
    for run, replica in zip(runs, replicas, strict=True):
        replica.begin(run, after_grok)
    asked = False
    while not asked and (live := [r for r, replica in enumerate(replicas) if not replica.ended]):
        try:
            asked = until_one_ends([sittings[r] for r in live], Replicas([replicas[r] for r in live]))
        except Exception as error:
            raise device.lost(error) from error
    return replicas


class BatchesAhead:
    """The replicas' batches, those of the next block drawn while the device is busy with this one.

    A replica's own stream is always where the replica is; what is drawn ahead is thrown away if another number is asked
    for.
    """

    def __init__(self, replicas: Sequence[RunState]) -> None:
        self._replicas = replicas
        self._ahead: tuple[Array, list[Any]] | None = None  # batches, and the streams' states after them

    def draw(self, steps: int) -> Array:
        """Return the next batches of each replica, (R, steps, B) int64, and go on behind them."""
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
        return np.stack([np.stack([replica.stream.next() for _ in range(steps)]) for replica in self._replicas])

    def _states(self) -> list[Any]:
        return [replica.stream.state() for replica in self._replicas]

    def _restore(self, states: list[Any]) -> None:
        for replica, state in zip(self._replicas, states, strict=True):
            replica.stream.restore(state)


class Replicas:
    """Runs of one `kind` on the device: their steps and their scores.

    Parameters
    ----------
    replicas : sequence of Replica
    """

    def __init__(self, replicas: Sequence[Replica]) -> None:
        config = replicas[0].config
        self.replicas = replicas
        self.fleet = Fleet(config, config.compute.dtype, len(replicas))
        tokens, targets = [each.tokens for each in replicas], [each.targets for each in replicas]
        frozen = np.stack([members(each.config, each.config.optimiser.frozen) for each in replicas])
        self.step = FleetStep(self.fleet, tokens, targets, config.train.batch_size, frozen if frozen.any() else None)
        self.load()
        self._batches = BatchesAhead(replicas)
        self.evaluations = {
            part: FleetEvaluation(self.fleet, [each.sets[part] for each in replicas]) for part in replicas[0].sets
        }

    def load(self) -> None:
        """Bring parameters and moments to the device."""
        self.fleet.theta[:] = np.stack([each.theta for each in self.replicas])
        self.step.m[:] = np.stack([each.adamw.m for each in self.replicas])
        self.step.v[:] = np.stack([each.adamw.v for each in self.replicas])

    def fetch(self) -> None:
        """Bring the moments back: the host has all else."""
        for replica, m, v in zip(self.replicas, self.step.m.host(), self.step.v.host(), strict=True):
            replica.adamw.m[:], replica.adamw.v[:] = m, v

    def advance(self) -> None:
        """Make the steps up to the next one that the host must see, and score the replicas if it is evaluated."""
        steps = min(each.steps_to_next() for each in self.replicas)
        self.block(steps, min(each.steps_to_next(steps) for each in self.replicas))
        if any(each.evaluation_due for each in self.replicas):
            self.score()

    def block(self, steps: int, ahead: int = 0) -> None:
        """Make steps, and bring back what the host must know between checkpoints: all but the moments.

        Parameters
        ----------
        steps : int
        ahead : int    steps of the next block, if that is known: their batches are drawn while the device is busy
        """
        replicas = self.replicas
        before = [each.stream.state() for each in replicas]
        batches = self._batches.draw(steps)
        self.step.block(batches, [each.config.optimiser for each in replicas], [each.adamw.steps for each in replicas])
        if ahead:
            self._batches.draw_ahead(ahead)
        states = self.step.state.host().astype(np.float64)
        thetas = self.fleet.theta.host()
        for r, replica in enumerate(replicas):
            replica.theta[:] = thetas[r]
            norm, goes_on, made = states[r]
            replica.counters.step += int(made)
            replica.adamw.steps += int(made)
            if made:
                replica.grad_norm = float(norm)
            if not goes_on:
                replica.diverged(before[r], int(made))

    def score(self) -> None:
        """Score all replicas on all pairs."""
        for part, evaluation in self.evaluations.items():
            for replica, scores in zip(self.replicas, evaluation.each(), strict=True):
                replica.last_scores[part] = scores


class Replay(Replica):
    """Single steps of a run on the device, the same bits as in its training."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.grad = np.zeros_like(self.theta)
        self._alone = Replicas([self])

    def step(self) -> None:
        """Make one step from theta and the moments as they are, and fill `grad` (P,); errors as of `Trainer.step`."""
        self._alone.load()
        self._alone.block(1)
        self._alone.fetch()
        if self.failure is not None:
            raise self.failure
        self.grad[:] = self._alone.fleet.gradients
