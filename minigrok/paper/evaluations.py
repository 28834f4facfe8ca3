"""The table of evaluations of a run as arrays, so that its numbers have names like those of an analysis."""

from dataclasses import dataclass

import numpy as np

from minigrok.analyses.shared.events import evaluations
from minigrok.engine import Array
from minigrok.storage.runs import Run

NAME = "evaluations"  # in the registry, where others name an analysis


@dataclass(frozen=True)
class Evaluations:
    """Evaluations of one run.

    Attributes
    ----------
    tasks : list of str
    steps : (S,)
    train, test, alone : (S, tasks)    accuracies; of test pairs without a partner: nan where the table lacks them
    """

    tasks: list[str]
    steps: Array
    train: Array
    test: Array
    alone: Array


def read(run: Run) -> Evaluations:
    """Read the table of a run; a RunFolderError if it has no row."""
    columns, tasks = evaluations(run), list(run.config.task.operations)
    nothing = np.full(len(columns["step"]), np.nan)

    def of(name: str) -> Array:
        return np.array([columns.get(f"{name}_{task}", nothing) for task in tasks], np.float64).T

    parts = of("train_accuracy"), of("test_accuracy"), of("test_accuracy_alone")
    return Evaluations(tasks, columns["step"].astype(np.float64), *parts)
