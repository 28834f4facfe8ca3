"""What the phase diagram knows of each run, from its table of evaluations.

Times are optimiser steps. Per task: memorised (train accuracy above .99), grokked (the run's criterion); a task that
did not grok is censored at the run's last evaluation, whether the budget was used up or the run is still going on.
Regimes, between them medians over evaluations:
    learning       before every task is memorised
    memorised      from there to the evaluation before the first task groks, or to the end
    generalised    from the step at which the last task groks
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses.base import median
from minigrok.analyses.shared import events
from minigrok.config import Config
from minigrok.engine import Array
from minigrok.statistics.slingshots import slingshots
from minigrok.storage.milestones import milestones
from minigrok.storage.runs import Run

REGIMES = ("learning", "memorised", "generalised")
COMPARED = ("optimiser.weight_decay", "optimiser.learning_rate", "model.cross_entropy", "compute.dtype")


@dataclass(frozen=True)
class Condition:
    """What runs of other seeds have in common."""

    wd: float
    lr: float
    numerics: str  # dtype of training, and the cross-entropy if it is not the stable one


@dataclass(frozen=True)
class Life:
    """One run.

    Attributes
    ----------
    run : str
    seed : int
    condition : Condition
    memorised : (tasks,) float          nan: not yet
    times : (tasks,) float              of grokking, or of the last evaluation
    grokked : (tasks,) bool             False: censored
    last : int                          step of the last evaluation
    is_over : bool                      budget used up, or stopped as asked; else the run can go on
    norms : dict of str to float        |theta| at the start, its median in each regime, at the end
    gradients, losses : dict of regime  medians of |gradient| before clipping and of the summed train loss, nats
    slingshots : (n,) int               steps, see minigrok.statistics.slingshots
    watched : int                       steps after memorisation, in which slingshots were counted
    """

    run: str
    seed: int
    condition: Condition
    memorised: Array
    times: Array
    grokked: Array
    last: int
    is_over: bool
    norms: dict[str, float]
    gradients: dict[str, float]
    losses: dict[str, float]
    slingshots: Array
    watched: int

    @property
    def all_times(self) -> tuple[float, bool]:
        """When the last task grokked, or until when it had not."""
        return float(self.times.max()) if self.grokked.all() else float(self.last), bool(self.grokked.all())

    @property
    def clock(self) -> float:
        """Decay clock a step, lr wd."""
        return self.condition.lr * self.condition.wd


def life_of(run: Run, name: str) -> Life:
    """Return what a run's evaluations say.

    Raises
    ------
    RunFolderError
        There is none.
    """
    columns, config = events.evaluations(run), run.config
    reached = milestones(config, columns).values()
    last = int(columns["step"][-1])
    times, grokked = (each[:-1] for each in events.grok_times(config, columns))
    memorised = np.array([np.nan if each.memorised_at is None else each.memorised_at for each in reached])
    over = last >= config.train.max_steps or (config.train.stop_when_grokked and bool(grokked.all()))
    loss = np.sum([columns[f"train_loss_{task}"] for task in config.task.operations], axis=0)
    masks, start = _regimes(columns["step"], memorised, times, grokked), memorised.max()
    middle = {
        key: {regime: median(values[mask]) for regime, mask in masks.items()}
        for key, values in (("norm", columns["param_norm"]), ("gradient", columns["grad_norm"]), ("loss", loss))
    }
    ends = {"start": float(columns["param_norm"][0]), "end": float(columns["param_norm"][-1])}
    is_memorised = not np.isnan(start)
    return Life(
        name,
        config.seed,
        condition_of(config),
        memorised,
        times,
        grokked,
        last,
        bool(over),
        ends | middle["norm"],
        middle["gradient"],
        middle["loss"],
        slingshots(columns["step"], loss, int(start)) if is_memorised else np.zeros(0, np.int64),
        int(last - start) if is_memorised else 0,
    )


def condition_of(config: Config) -> Condition:
    """Return weight decay, learning rate and numerics of a run."""
    kind, dtype = config.model.cross_entropy, config.compute.dtype
    numerics = dtype if kind == "stable" else f"{dtype} {kind}"
    return Condition(config.optimiser.weight_decay, config.optimiser.learning_rate, numerics)


def conditions(lives: Sequence[Life]) -> list[Condition]:
    """Return the conditions, large weight decay first."""
    return sorted({life.condition for life in lives}, key=lambda c: (-c.wd, c.lr, c.numerics))


def label(condition: Condition, among: Sequence[Condition]) -> str:
    """Words for a condition: weight decay, and what else varies among the others."""
    words = [f"wd {condition.wd:g}"]
    if len({c.lr for c in among}) > 1:
        words.append(f"lr {condition.lr:g}")
    if len({c.numerics for c in among}) > 1:
        words.append(condition.numerics)
    return ", ".join(words)


def main_line(lives: Sequence[Life]) -> tuple[float, str] | None:
    """Return the learning rate and numerics of most runs with weight decay: the ones that laws are fitted to."""
    kinds = [(life.condition.lr, life.condition.numerics) for life in lives if life.condition.wd > 0]
    return max(dict.fromkeys(kinds), key=kinds.count) if kinds else None


def _regimes(steps: Array, memorised: Array, times: Array, grokked: Array) -> dict[str, Array]:
    begin = np.inf if np.isnan(memorised).any() else memorised.max()
    first = times[grokked].min() if grokked.any() else np.inf
    end = times.max() if grokked.all() else np.inf
    return dict(zip(REGIMES, (steps < begin, (steps >= begin) & (steps < first), steps >= end), strict=True))
