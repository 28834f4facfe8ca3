"""Where a run is: its counters, and when it is at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minigrok.config import Train
from minigrok.storage.milestones import counted
from minigrok.storage.runs import Run


@dataclass
class Counters:
    """Where a run is.

    Attributes
    ----------
    step : int            optimiser steps done
    streak : list of int  evaluations in a row at or above the grok threshold, for each task
    grok_step : list      step at which each task grokked, or None
    seconds : float       wall time spent training, over all sittings; decides nothing
    after_grok : int      steps to go on after the last task grokked, if a sitting asked for others than the config's
    """

    streak: list[int]
    grok_step: list[int | None]
    step: int = 0
    seconds: float = 0.0
    after_grok: int | None = None

    @property
    def grokked(self) -> bool:
        """Whether every task has."""
        return all(step is not None for step in self.grok_step)

    @property
    def last_grok(self) -> int | None:
        """Step at which the last task grokked."""
        return max(s for s in self.grok_step if s is not None) if self.grokked else None

    def count(self, accuracies: Iterable[float], train: Train) -> None:
        """Count an evaluation at the present step: the test accuracy of each task."""
        for k, accuracy in enumerate(accuracies):
            is_good, reached = accuracy >= train.grok_threshold, self.grok_step[k]
            self.streak[k], self.grok_step[k] = counted(
                self.streak[k], reached, self.step, is_good, train.grok_patience
            )

    def end(self, train: Train) -> int:
        """Return the step at which the run ends: the budget, or `after_grok` steps after the last task grokked."""
        if not train.stop_when_grokked or self.last_grok is None:
            return train.max_steps
        after = train.after_grok if self.after_grok is None else self.after_grok
        return min(train.max_steps, self.last_grok + after)

    def finished(self, train: Train) -> bool:
        """Whether the run is at its end."""
        return self.step >= self.end(train)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Counters:
        """Counters in the state of a checkpoint."""
        after_grok = state.get("after_grok")  # not in the checkpoints of earlier versions
        return cls(state["streak"], state["grok_step"], state["step"], state["seconds"], after_grok)


def more_steps(run: Run) -> str:
    """Say what gives a run more steps than it has: to resume it does nothing once it is at its end."""
    if run.adopted:
        return "adopt it again, with more of its snapshots, into another folder"
    _, state = run.load_checkpoint() or ({}, None)
    counters = Counters.of(state) if state else None
    if counters is None or not counters.finished(run.config.train):
        return f"train longer: minigrok resume {run.folder}"
    if counters.step < run.config.train.max_steps:
        return f"train on beyond the grok: minigrok resume {run.folder} --after-grok 2000"
    return "its budget is used up: train a new run, with a larger train.max_steps or a smaller train.snapshot_every"
