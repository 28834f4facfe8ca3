"""A run between two steps: parameters, moments, data stream and counters; and what is written of it.

After step 1 and every `eval_every` steps: loss and accuracy of every task on all train and all test pairs. A task has
grokked at the third evaluation in a row with test accuracy >= 0.98 (`train.grok_patience`, `train.grok_threshold`).
The last columns are the accuracies on test pairs with and without a partner in train (`minigrok.orbits`).

Everything that decides the next bit is in the checkpoint. Who makes the steps is another matter: `trainer.Trainer`, or
a device for many runs at once (`fleet_train`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array, Engine, provenance
from minigrok.errors import NonFiniteError, RunFolderError
from minigrok.network.evaluation import Scores
from minigrok.storage.milestones import GROUPS
from minigrok.storage.runs import METRICS, Run
from minigrok.tasks import BatchStream, pairs, with_partner
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
        self.groups = groups(config, with_partner(config.task, data))
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
        of_test = scores.correct  # the test pairs are the last of the sets
        row |= {name: float(of_test[k, members].mean()) for name, (k, members) in self.groups.items()}
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
    def at_end(self) -> bool:
        """Whether this step is the run's last: one that was asked for fewer steps than it has made is beyond it."""
        return self.counters.step == self.counters.end(self.config.train)

    @property
    def ended(self) -> bool:
        """Whether no step is left that can be made."""
        return self.failure is not None or self.finished

    def broken(self) -> bool:
        """Return whether a parameter or moment is NaN or infinite; then `failure` says so.

        A step from finite numbers can end in others, and the state before it is gone. So this is asked before anything
        is written: the last checkpoint stands then.
        """
        if all(np.isfinite(each).all() for each in (self.theta, self.adamw.m, self.adamw.v)):
            return False
        self.failure = self.failure or NonFiniteError(
            required="finite parameters and moments",
            got=f"others after step {self.counters.step} of {self.config.name}",
            do="lower optimiser.learning_rate, or look at the last snapshots; the last checkpoint is as it was",
        )
        return True

    def save(self, run: Run) -> None:
        """Write the checkpoint, and before it the last snapshot if the run is at its end; nothing if it is `broken`."""
        if self.broken():
            return
        if self.at_end:
            run.save_snapshot(self.counters.step, self.theta)
        run.save_checkpoint(*self.content())

    def content(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return arrays and state of a checkpoint."""
        stream = self.stream.state()
        moments = {"adam_m": self.adamw.m, "adam_v": self.adamw.v}
        arrays = {"theta": self.theta, **moments, "stream_keys": stream["keys"]}
        state = vars(self.counters) | {"stream_position": stream["position"], "grad_norm": self.grad_norm}
        return arrays, state | self.more()

    def more(self) -> dict[str, Any]:
        """Return what else belongs into the checkpoint."""
        return {}

    def restore(self, arrays: dict[str, Array], state: dict[str, Any]) -> None:
        """Go to a checkpoint that `save` wrote; a RunFolderError unless it has exactly what `content` has."""
        own = self.content()
        _require_like("arrays", _kinds(arrays), _kinds(own[0]))
        state = {"after_grok": None} | state  # not in the checkpoints of earlier versions
        _require_like("state", dict.fromkeys(state, ""), dict.fromkeys(own[1], ""))
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

        `after_grok` takes the place of the config's, for this sitting and, should it be killed, for the next.
        """
        checkpoint = run.load_checkpoint()
        if checkpoint:
            self.restore(*checkpoint)
            self._go_on(after_grok, run)
        else:
            self.counters.after_grok = after_grok
            require_new(run)
            if 0 in run.snapshots():  # a run that was killed at its start, or was given its parameters
                self.theta[:] = run.load_snapshot(0, finite=False)
            self.save(run)
        if self.broken():  # as it was given, or as another program wrote it
            return
        if self.counters.step == 0 or self.at_end:
            run.save_snapshot(self.counters.step, self.theta)
        for table in self.tables:
            columns = run.metrics(table)  # an error if an evaluation is missing: it would not be made again
            if table == METRICS and columns:  # an earlier minigrok began the table: its columns stay
                self.groups = {name: group for name, group in self.groups.items() if name in columns}
            run.truncate_metrics(self.counters.step, table)

    def _go_on(self, after_grok: int | None, run: Run) -> None:
        """Compare versions if steps are left, and keep what was asked for: after a kill the next sitting finds it."""
        before = self.counters.after_grok
        self.counters.after_grok = before if after_grok is None else after_grok
        if not self.at_end:
            provenance.compare(run.recorded, run.folder, run.config.compute.portable, run.other_versions)
        if self.counters.after_grok != before:
            self.save(run)

    def record(self, run: Run) -> Row | None:
        """Write what is due after the step just made, unless it is `broken`; return the row of metrics, if any."""
        row, snapshot_due = None, self.counters.step % run.config.train.snapshot_every == 0
        if (self.evaluation_due or snapshot_due) and self.broken():
            return None
        if self.evaluation_due:
            row = self.evaluate()
            run.append_metrics(row)
        if snapshot_due:
            run.save_snapshot(self.counters.step, self.theta)
        return row


def groups(config: Config, with_partner: Array) -> dict[str, tuple[int, Array]]:
    """Return the task and the test pairs (n_test,) bool of each group, by its column; a group without pairs has none.

    Parameters
    ----------
    config : Config
    with_partner : (n_tasks, n_test) bool
    """
    each = enumerate(config.task.operations)
    found = {
        f"{name}_{task}": (k, with_partner[k] == has)
        for k, task in each
        for name, has in zip(GROUPS, (True, False), strict=True)
    }
    return {name: group for name, group in found.items() if group[1].any()}


def _kinds(arrays: Mapping[str, Array]) -> dict[str, str]:
    return {name: f"{x.dtype} {x.shape}" for name, x in arrays.items()}


def _require_like(what: str, found: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Raise a RunFolderError unless the content of a checkpoint is that of this run's: names, dtypes and shapes."""
    wrong = sorted({*found.items()} ^ {*own.items()})
    if wrong:
        name = wrong[0][0]
        required = f"{what} of a checkpoint of this run: {name} {own.get(name, 'absent')}".rstrip()
        do = "restore checkpoint.safetensors from a copy, or train the run anew in another folder"
        raise RunFolderError(required, f"{name} {found.get(name, 'absent')}".rstrip(), do)


def require_new(run: Run) -> None:
    """Raise a RunFolderError if a run without a checkpoint was trained: it would begin anew over what is there."""
    steps = [step for step in run.snapshots() if step] + run.metrics().get("step", np.empty(0)).tolist()
    if steps:
        got = f"no checkpoint, but snapshots or evaluations up to step {max(steps):,}"
        do = "restore checkpoint.safetensors from a copy, or train the run anew in another folder"
        raise RunFolderError(f"the checkpoint of {run.folder}", got, do)
