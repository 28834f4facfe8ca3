"""Where a run stands, task by task: what the display, the final table and --json show."""

from __future__ import annotations

from typing import NamedTuple

from minigrok.storage.milestones import milestones
from minigrok.storage.runs import Run


class Standing(NamedTuple):
    """One task at the last evaluation; steps are None while not reached."""

    task: str
    memorised_at: int | None
    grokked_at: int | None
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


def standings(run: Run) -> list[Standing]:
    """Return the standing of every task, in the order of the config; empty before the first evaluation."""
    columns = run.metrics()
    if not columns or not len(columns["step"]):
        return []
    names = [f"{part}_{quantity}" for part in ("train", "test") for quantity in ("loss", "accuracy")]
    return [
        Standing(task, *reached, *(float(columns[f"{name}_{task}"][-1]) for name in names))
        for task, reached in milestones(run.config, columns).items()
    ]


def step_text(step: int | None) -> str:
    """Return a step for people, "-" for none."""
    return "-" if step is None else f"{step:,}"
