"""Lowest Hessian eigenvalue against weight decay, by three ways to choose the point of the run.

    deepest     the paper's: lowest of at most 30 values, each of 512 random pairs and 25 products; read from the run's
                result of `hessian --protocol paper`. The minimum of many noisy draws is low for that reason alone, so
                their median stands beside it
    end         at the last snapshot, read from the run's result of `hessian`
    at loss     where every task's train loss first falls to so much: of the snapshots before and after, the one whose
                loss is nearer, in logarithms; the loss falls steeply there, so the loss that was met stands beside
    at clock    at the snapshot nearest to lr wd t = so much; weight decay 0 has no such clock
The last two are measured here, if asked for: H of the summed loss over all training pairs, float64, Lanczos with full
reorthogonalisation; each value with its residual (minigrok.analyses.curvature).
Source: arXiv:2602.18523, figMT_H, figTT_H (deepest); matched points: minigrok.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigrok.analyses import events
from minigrok.analyses.base import Work
from minigrok.analyses.curvature import Curvature, spectrum
from minigrok.analyses.hessian_paper import TOTAL
from minigrok.config import config_hash
from minigrok.engine import Array
from minigrok.rng import rng
from minigrok.storage.runs import Run

DEEPEST, END, AT_LOSS, AT_CLOCK = "deepest", "end", "at loss", "at clock"


@dataclass(frozen=True)
class Depth:
    """A lowest eigenvalue of one run, nats; nan for what is not known.

    Attributes
    ----------
    kind : str                   deepest, end, at loss, at clock
    step : int
    clock, loss : float          lr wd t; train loss summed over the tasks, at the last evaluation up to the step
    value, residual : float      an eigenvalue lies within the residual of the value
    highest : float              for scale
    middle : float               median over the checkpoints that the deepest is of
    says : str
    """

    kind: str
    step: int
    clock: float
    loss: float
    value: float
    residual: float
    highest: float
    middle: float
    says: str


def read(run: Run) -> list[Depth]:
    """Return what finished analyses of the run say: deepest and end, as far as they are there."""
    return [depth for depth in (_deepest(run), _end(run)) if depth is not None]


def points(run: Run, loss: float, clock: float) -> dict[str, int]:
    """Return the snapshots to measure at, by kind; a kind that the run does not reach is missing."""
    columns, steps, found = events.evaluations(run), np.array(run.snapshots(), np.int64), {}
    evaluated = steps[steps >= columns["step"][0]]
    rows = np.searchsorted(columns["step"], evaluated, side="right") - 1
    worst = np.max([columns[f"train_loss_{task}"] for task in run.config.task.operations], axis=0)
    low = np.flatnonzero(worst[rows] <= loss)
    if low.size:
        around = np.arange(max(low[0] - 1, 0), low[0] + 1)
        off = np.abs(np.log(np.maximum(worst[rows[around]], np.finfo(float).tiny) / loss))
        found[AT_LOSS] = int(evaluated[around[np.argmin(off)]])
    rate = run.config.optimiser.learning_rate * run.config.optimiser.weight_decay
    if rate > 0 and steps.size and rate * steps[-1] >= clock:
        found[AT_CLOCK] = int(steps[np.argmin(np.abs(rate * steps - clock))])
    return found


def measure(runs: Sequence[Run], work: Work, loss: float, clock: float, products: int) -> list[list[Depth]]:
    """Return each run's measured depths, in parts that a killed sitting leaves behind."""
    wanted = [(i, kind, step) for i, run in enumerate(runs) for kind, step in points(run, loss, clock).items()]
    places = list(dict.fromkeys((i, step) for i, _, step in wanted))
    names = [f"lowest-{config_hash(runs[i].config)[:12]}-{step:06d}" for i, step in places]
    held: dict[int, Curvature] = {}  # one run at a time: the tapes of all pairs are large

    def one(place: int) -> dict[str, Array]:
        i, step = places[place]
        if i not in held:
            held.clear()
            held[i] = Curvature(runs[i])
        at = held[i].at(runs[i].load_snapshot(step).astype(np.float64))
        start = rng(runs[i].config.seed, f"analysis/phase/{step}").standard_normal(runs[i].layout.size)
        found = spectrum(at.hessian, start, products)
        return {key: found[key][[0, -1]] for key in ("values", "residuals")}

    parts = dict(zip(places, work.parts(names, one), strict=True))
    depths: list[list[Depth]] = [[] for _ in runs]
    for i, kind, step in wanted:
        part, what = parts[i, step], f"{loss:g}" if kind == AT_LOSS else f"{clock:g}"
        lowest, highest = part["values"]
        says = f"{kind} {what}: {products} products, all pairs"
        depths[i].append(_depth(runs[i], kind, step, float(lowest), float(part["residuals"][0]), float(highest), says))
    return depths


def _depth(
    run: Run, kind: str, step: int, value: float, residual: float, highest: float, says: str, middle: float = np.nan
) -> Depth:
    columns, optimiser = events.evaluations(run), run.config.optimiser
    row = max(int(np.searchsorted(columns["step"], step, side="right")) - 1, 0)
    loss = float(sum(columns[f"train_loss_{task}"][row] for task in run.config.task.operations))
    clock = step * optimiser.learning_rate * optimiser.weight_decay
    return Depth(kind, step, clock, loss, value, residual, highest, middle, says)


def _deepest(run: Run) -> Depth | None:
    folder = run.folder / "analysis" / "hessian-paper"
    try:
        total = _result(run, folder)["modes"].index(TOTAL)
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            steps, values = arrays["steps"], arrays["values"][:, total, 0]
            residuals = arrays["residuals"][:, total, 0]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None  # none, of another run, or half-written by a killed process
    i = int(np.argmin(values))
    says = f"lowest of {len(values)} checkpoints, 512 random pairs each, not converged"
    middle = float(np.median(values))
    return _depth(run, DEEPEST, int(steps[i]), float(values[i]), float(residuals[i]), np.nan, says, middle)


def _end(run: Run) -> Depth | None:
    folder, last = run.folder / "analysis" / "hessian", run.snapshots()[-1:]
    try:
        _result(run, folder)
        with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["operator"] == "H" and [int(row["step"])] == last]
        lowest, residual, highest = (float(rows[0][name]) for name in ("lowest", "lowest residual", "highest"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    return _depth(
        run, END, last[0], lowest, residual, highest, f"last snapshot, {rows[0]['products']} products, all pairs"
    )


def _result(run: Run, folder: Path) -> dict[str, list[str]]:
    """Result of an analysis of this very run."""
    head = json.loads((folder / "result.json").read_bytes())
    if config_hash(run.config) not in head["runs"].values():
        raise ValueError("of another run")
    return head["result"]  # type: ignore[no-any-return]
