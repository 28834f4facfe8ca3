"""What happened when in a run, read from its table of evaluations; and how runs are grouped."""

from collections.abc import Mapping, Sequence

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.storage.milestones import MEMORISED, all_grokked_at, complete, first, milestones
from minigrok.storage.runs import Run
from minigrok.training.counters import more_steps

# Grokking has several definitions in the paper; each is (test accuracy, evaluations in a row).
STREAK, FIRST_90 = "0.98 x 3", "first 0.90"
GROKS: dict[str, tuple[float, int]] = {STREAK: (0.98, 3), FIRST_90: (0.90, 1)}


def evaluations(run: Run) -> dict[str, Array]:
    """Return the columns of the run's evaluations.

    Raises
    ------
    RunFolderError
        None was made yet.
    """
    columns = dict(complete(run.config, run.metrics()))
    if not columns or not len(columns["step"]):
        raise RunFolderError(f"a run with an evaluation in {run.folder}", "none", more_steps(run))
    return columns


def reached(columns: Mapping[str, Array], task: str, level: float, patience: int = 1) -> int | None:
    """Step at which a task's test accuracy was `level` or more, `patience` evaluations in a row."""
    return first(columns["step"], columns[f"test_accuracy_{task}"] >= level, patience)


def memorised(columns: Mapping[str, Array], task: str) -> int | None:
    """Step of the first evaluation with train accuracy above MEMORISED."""
    return first(columns["step"], columns[f"train_accuracy_{task}"] > MEMORISED)


def all_reached(columns: Mapping[str, Array], tasks: Sequence[str], level: float) -> int | None:
    """Step of the first evaluation at which every task's test accuracy is `level` or more."""
    lowest = [columns[f"test_accuracy_{task}"] for task in tasks]
    return first(columns["step"], (min(values) >= level for values in zip(*lowest, strict=True)))


def grok_times(config: Config, columns: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return when each task and, last, all of them grokked, (tasks + 1,) float, and whether they did.

    What had not grokked is censored: its time is that of the last evaluation.
    """
    reached = milestones(config, columns).values()
    found = [*(each.grokked_at for each in reached), all_grokked_at(reached)]
    times = [columns["step"][-1] if step is None else step for step in found]
    return np.array(times, np.float64), np.array([step is not None for step in found])


def labels(runs: Sequence[Run]) -> list[str]:
    """One name a run: its folder's, numbered where several are called the same."""
    names = [run.folder.name for run in runs]
    return [f"{name}#{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]
