"""When each task of a run memorised and grokked, read from its table of evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy.typing as npt

from minigrok.config import Config

MEMORISED = 0.99  # train accuracy above which a task counts as memorised: our choice


class Milestones(NamedTuple):
    """Steps of one task's milestones; None: not reached."""

    memorised_at: int | None  # first evaluation with train accuracy above MEMORISED
    grokked_at: int | None  # the evaluation that completes the first streak: train.grok_patience in a row


def milestones(config: Config, columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, Milestones]:
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
    steps = columns.get("step", ())
    return {
        task: Milestones(
            _first(steps, (x > MEMORISED for x in columns.get(f"train_accuracy_{task}", ())), 1),
            _first(
                steps,
                (x >= config.train.grok_threshold for x in columns.get(f"test_accuracy_{task}", ())),
                config.train.grok_patience,
            ),
        )
        for task in config.task.operations
    }


def _first(steps: Iterable[Any], good: Iterable[Any], patience: int) -> int | None:
    """Step that completes the first `patience` good evaluations in a row."""
    streak = 0
    for step, is_good in zip(steps, good, strict=True):
        streak = streak + 1 if is_good else 0
        if streak == patience:
            return int(step)
    return None
