"""When each task of a run memorised and grokked, read from its table of evaluations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

from minigrok.config import Config
from minigrok.errors import RunFolderError

Columns = Mapping[str, npt.NDArray[Any]]
PARTS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")  # columns of each task
GROUPS = ("test_accuracy_partner", "test_accuracy_alone")  # columns of later runs: test pairs with a partner, without
MEMORISED = 0.99  # train accuracy above which a task counts as memorised: our choice


def is_of_group(column: str) -> bool:
    """Whether a column is the accuracy of a group of test pairs: only runs of later versions have those."""
    return column.startswith(GROUPS)


class Milestones(NamedTuple):
    """Steps of one task's milestones; None: not reached."""

    memorised_at: int | None  # first evaluation with train accuracy above MEMORISED
    grokked_at: int | None  # the evaluation that completes the first streak: train.grok_patience in a row


def milestones(config: Config, columns: Columns) -> dict[str, Milestones]:
    """Milestones of every task, in the order of the config.

    Parameters
    ----------
    config : Config
    columns : mapping of name to (rows,)    as `Run.metrics` returns them; may be empty

    Returns
    -------
    dict of task to Milestones
        equal to the counters that training kept: both see the same rows
    """
    steps = complete(config, columns, ("train_accuracy", "test_accuracy")).get("step", ())
    return {
        task: Milestones(
            first(steps, (x > MEMORISED for x in columns.get(f"train_accuracy_{task}", ()))),
            first(
                steps,
                (x >= config.train.grok_threshold for x in columns.get(f"test_accuracy_{task}", ())),
                config.train.grok_patience,
            ),
        )
        for task in config.task.operations
    }


def all_grokked_at(reached: Iterable[Milestones]) -> int | None:
    """Step at which the last task grokked; None unless all did, and where there is no task."""
    steps = [each.grokked_at for each in reached]
    return max((step for step in steps if step is not None), default=None) if None not in steps else None


def first(steps: Iterable[Any], good: Iterable[Any], patience: int = 1) -> int | None:
    """Return the step that completes the first `patience` good evaluations in a row, or None."""
    streak, reached = 0, None
    for step, is_good in zip(steps, good, strict=True):
        streak, reached = counted(streak, reached, int(step), is_good, patience)
    return reached


def counted(streak: int, reached: int | None, step: int, is_good: bool, patience: int) -> tuple[int, int | None]:
    """Return the streak, and the step that completed the first one of `patience`, after one more evaluation."""
    streak = streak + 1 if is_good else 0
    return streak, step if reached is None and streak >= patience else reached


class Standing(NamedTuple):
    """One task at the last evaluation; steps are None while not reached."""

    task: str
    memorised_at: int | None
    grokked_at: int | None
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


def standings(config: Config, columns: Columns) -> list[Standing]:
    """Return the standing of every task, in the order of the config; empty before the first evaluation."""
    if not complete(config, columns) or not len(columns["step"]):
        return []
    return [
        Standing(task, *reached, *(float(columns[f"{name}_{task}"][-1]) for name in PARTS))
        for task, reached in milestones(config, columns).items()
    ]


def complete(config: Config, columns: Columns, parts: Sequence[str] = PARTS) -> Columns:
    """Return the columns of a run's evaluations; a RunFolderError unless these parts are there, or no column yet."""
    wanted = ["step", *(f"{name}_{task}" for task in config.task.operations for name in parts)]
    if columns and (missing := [name for name in wanted if name not in columns]):
        required = f"every column of the metrics.csv of {config.name}, seed {config.seed}"
        raise RunFolderError(required, f"none called {', '.join(missing)}", "restore the file from a copy")
    return columns
