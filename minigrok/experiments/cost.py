"""Predicted time and disk of a sweep: bounds, because a run that groks stops before its budget.

time    steps left x seconds a step (evaluations included) of this very run, or of one of the same shape, or timed
        here on one thread; the sweep: all of it over the workers, or the longest run, whichever is longer
disk    see minigrok.training.budget
"""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from minigrok.config import Config, Intervention, to_toml
from minigrok.config.arms import NO_SOURCE
from minigrok.experiments.cells import Cell
from minigrok.training import budget
from minigrok.training.trainer import Trainer

STEPS = 5  # timed steps, after two that compile and record: our choice
ENOUGH = 200  # steps after which a run's own speed is believed: our choice
PLANE = 1.25  # a step with a plane of 20 directions, in steps without: 1.20 to 1.25 measured on the dual model


class Cost(NamedTuple):
    """What is left to spend, at most.

    Attributes
    ----------
    seconds : float    wall time of training on the workers; nan: unknown
    n_bytes : int      disk, until snapshots are thinned; finished runs not counted
    thinned : int      disk after that
    """

    seconds: float
    n_bytes: int
    thinned: int


def shape(config: Config) -> str:
    """Return a key that runs of equal speed share: the numbers of seed, decay, rate and budget do not matter."""
    train = dataclasses.replace(config.train, max_steps=1, snapshot_every=1, stop_when_grokked=True, after_grok=0)
    optimiser = dataclasses.replace(config.optimiser, learning_rate=1.0, weight_decay=0.0)
    act = Intervention() if config.intervention.plane in NO_SOURCE else Intervention("deletion", source="_")
    return to_toml(dataclasses.replace(config, name="_", seed=0, optimiser=optimiser, train=train, intervention=act))


def seconds_per_step(config: Config) -> float:
    """Time a few steps and an evaluation, here and on one thread.

    At a rate at which nothing diverges, and with this process's kernels, as portable ones need another process.
    """
    budget.require_room(config)
    harmless = dataclasses.replace(config.optimiser, learning_rate=1e-3, weight_decay=0.0)
    here = dataclasses.replace(config.compute, portable=False)
    plain = dataclasses.replace(config, optimiser=harmless, compute=here, intervention=Intervention())
    trainer = Trainer(plain, threads=1)
    for _ in range(2):
        trainer.step()
    trainer.evaluate()
    start = time.perf_counter()
    for _ in range(STEPS):
        trainer.step()
    stepped = time.perf_counter()
    trainer.evaluate()
    plane = 1.0 if config.intervention.plane in NO_SOURCE else PLANE
    return plane * (stepped - start) / STEPS + (time.perf_counter() - stepped) / config.train.eval_every


def rates(cells: Sequence[Cell], measure: Sequence[Cell] = ()) -> dict[str, float]:
    """Return the seconds a step of each shape, from runs that were begun, or else timed here for those to measure."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        if cell.step >= ENOUGH and cell.seconds > 0:
            found.setdefault(shape(cell.config), []).append(cell.seconds / cell.step)
    known = {key: sum(values) / len(values) for key, values in found.items()}
    for cell in measure:
        timed = cell.config.compute.engine != "cuda"  # there a step of many runs costs little more than one of one
        if timed and not cell.trained and shape(cell.config) not in known:
            known[shape(cell.config)] = seconds_per_step(cell.config)
    return known


def left(cells: Sequence[Cell], known: dict[str, float], workers: int, keep: int | None) -> Cost:
    """Return what the cells that are not trained will cost at most.

    Parameters
    ----------
    cells : sequence of Cell
    known : dict          from `rates`
    workers : int         runs side by side
    keep : int, optional  snapshots that are kept of each finished run
    """
    todo = [cell for cell in cells if not cell.trained]
    each = [seconds_left(cell, known) for cell in todo]
    seconds = max(sum(each) / max(workers, 1), *each) if each else 0.0
    full, thinned = (sum(budget.disk(cell.config, n) for cell in todo) for n in (None, keep))
    return Cost(seconds, full, thinned)


def seconds_left(cell: Cell, known: dict[str, float]) -> float:
    """Seconds that a run will take at most, on one thread; nan: unknown."""
    if cell.trained:
        return 0.0
    rate = known.get(shape(cell.config), math.nan)
    if cell.step >= ENOUGH and cell.seconds > 0:
        rate = cell.seconds / cell.step
    return rate * max(cell.config.train.max_steps - cell.step, 0)
