"""A run between two steps: parameters, moments, data stream and counters; and what is written of it.

After step 1 and every `eval_every` steps: loss and accuracy of every task on all train and all test pairs. A task has
grokked at the third evaluation in a row with test accuracy >= 0.98 (`train.grok_patience`, `train.grok_threshold`).

Everything that decides the next bit is in the checkpoint. Who makes the steps is another matter: `trainer.Trainer`, or
a device for many runs at once (`fleet_train`).
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from minigrok.config import Config, with_settings
from minigrok.engine import Array, Engine, provenance
from minigrok.errors import NonFiniteError, RunFolderError
from minigrok.network.evaluation import Scores
from minigrok.storage.runs import METRICS, Run
from minigrok.tasks import BatchStream, pairs
from minigrok.training.counters import Counters
from minigrok.training.optim import Moments, norm

Row = dict[str, float]


class RunState(ABC):
    """A run in memory, on the host.

    Parameters
    ----------
    config : Config
    engine : Engine
        Takes the norm of the parameters.
    theta : (P,)
    adamw : Moments
        Both are filled by whoever makes the steps, and by `restore`.
    """

    def __init__(self, config: Config, engine: Engine, theta: Array, adamw: Moments) -> None:
        self.config, self.engine, self.theta, self.adamw = config, engine, theta, adamw
        data = pairs(config.task, config.seed)
        parts = {"train": data.train, "test": data.test}
        self.sets = {part: (data.tokens[rows], data.targets[:, rows]) for part, rows in parts.items()}
        self.tokens, self.targets = self.sets["train"]
        self.stream = BatchStream(config.seed, len(data.train), config.train.batch_size)
        tasks = len(config.task.operations)
        self.counters = Counters([0] * tasks, [None] * tasks)
        self.grad_norm = float("nan")  # of the last batch, before clipping
        self.failure: NonFiniteError | None = None  # what kept the next step from being made

    @abstractmethod
    def scores(self, part: str) -> Scores:
        """Return loss and accuracy on all "train" or all "test" pairs."""

    def evaluate(self) -> Row:
        """Return a row of metrics at the present step, and update the grok counters."""
        row: Row = {"step": self.counters.step}
        for part in self.sets:
            scores = self.scores(part)
            for k, task in enumerate(self.config.task.operations):
                row[f"{part}_loss_{task}"] = float(scores.loss[k])
                row[f"{part}_accuracy_{task}"] = float(scores.accuracy[k])
        row["grad_norm"] = self.grad_norm
        row["param_norm"] = norm(self.engine, self.theta)
        accuracies = [row[f"test_accuracy_{task}"] for task in self.config.task.operations]
        self.counters.count(accuracies, self.config.train)
        return row

    @property
    def evaluation_due(self) -> bool:
        """Whether the step just made is followed by an evaluation."""
        return self.counters.step == 1 or self.counters.step % self.config.train.eval_every == 0

    @property
    def finished(self) -> bool:
        """Whether the run is at its end; see `Counters.finished`."""
        return self.counters.finished(self.config.train)

    @property
    def ended(self) -> bool:
        """Whether no step is left that can be made."""
        return self.failure is not None or self.finished

    def save(self, run: Run) -> None:
        """Write the checkpoint, and before it the last snapshot if the run is at its end."""
        if self.finished:
            run.save_snapshot(self.counters.step, self.theta)
        stream = self.stream.state()
        moments = {"adam_m": self.adamw.m, "adam_v": self.adamw.v}
        arrays = {"theta": self.theta, **moments, "stream_keys": stream["keys"]}
        state = vars(self.counters) | {"stream_position": stream["position"], "grad_norm": self.grad_norm}
        run.save_checkpoint(arrays, state | self.more())

    def more(self) -> dict[str, Any]:
        """Return what else belongs into the checkpoint."""
        return {}

    def restore(self, arrays: dict[str, Array], state: dict[str, Any]) -> None:
        """Go to a checkpoint that `save` wrote."""
        self.theta[:] = arrays["theta"]
        self.adamw.m[:], self.adamw.v[:] = arrays["adam_m"], arrays["adam_v"]
        self.stream.restore({"keys": arrays["stream_keys"], "position": state["stream_position"]})
        self.counters = Counters.of(state)
        self.adamw.steps = self.counters.step
        self.grad_norm = state["grad_norm"]

    def begin_at(self, theta: Array, step: int) -> None:
        """Go to theta (P,) with empty moments, and to the batches that follow those of `step` steps."""
        self.stream = BatchStream(self.config.seed, len(self.tokens), self.config.train.batch_size)
        for _ in range(step):
            self.stream.next()
        self.theta[:] = theta
        self.adamw.m[:] = self.adamw.v[:] = 0
        self.adamw.steps, self.counters.step = 0, step

    @property
    def tables(self) -> list[str]:
        """Files of the run folder that get a row an evaluation."""
        return [METRICS]

    def begin(self, run: Run, after_grok: int | None = None) -> None:
        """Restore the run's checkpoint, or write the first one; drop what was written after it.

        `after_grok` takes the place of the config's for this sitting.
        """
        if after_grok is not None:
            self.config = with_settings(self.config, [f"train.after_grok={after_grok}"])
        checkpoint = run.load_checkpoint()
        if checkpoint:
            self.restore(*checkpoint)
            if not self.finished:
                provenance.compare(run.recorded, run.folder, run.config.compute.portable, run.other_versions)
        else:
            if 0 in run.snapshots():  # a run that was killed at its start, or was given its parameters
                self.theta[:] = run.load_snapshot(0)
            self.save(run)
        if self.counters.step == 0 or self.finished:
            run.save_snapshot(self.counters.step, self.theta)
        for table in self.tables:
            _require_rows(run, table, self.counters.step)
            run.truncate_metrics(self.counters.step, table)

    def record(self, run: Run) -> Row | None:
        """Write what is due after the step just made; return the row of metrics if there is one."""
        row = None
        if self.evaluation_due:
            row = self.evaluate()
            run.append_metrics(row)
        if self.counters.step % run.config.train.snapshot_every == 0:
            run.save_snapshot(self.counters.step, self.theta)
        return row


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
