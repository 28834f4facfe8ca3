"""Lowest Hessian eigenvalue against weight decay, by three ways to choose the point of the run.

    deepest     the paper's: lowest of at most 30 values, each of 512 random pairs and 25 products; read from the run's
                result of `hessian --protocol paper`. The minimum of many noisy draws is low for that reason alone, so
                their median stands beside it
    end         at the last snapshot, read from the run's result of `hessian`
    at loss     where every task's train loss first falls to so much: of the snapshots before and after, the one whose
                loss is nearer, in logarithms; the loss falls steeply there, so the loss that was met stands beside
    at clock    at the snapshot nearest to lr wd t = so much; weight decay 0 has no such clock
The last two are measured here, if asked for: H of the summed loss over all training pairs, float64, Lanczos with full
reorthogonalisation; each value with its residual (minigrok.analyses.shared.curvature).
Source: arXiv:2602.18523, figMT_H, figTT_H (deepest); matched points: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses import results
from minigrok.analyses.base import Work
from minigrok.analyses.hessian.paper import TOTAL
from minigrok.analyses.shared import events
from minigrok.analyses.shared.curvature import Curvature, spectrum
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
    rate = run.config.optimiser.decay_rate
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
    clock = optimiser.clock(step)
    return Depth(kind, step, clock, loss, value, residual, highest, middle, says)


def _deepest(run: Run) -> Depth | None:
    found = results.read(run, "hessian", "paper")
    if found is None:
        return None
    total = found["modes"].index(TOTAL)
    values, residuals = (found[name][:, total, 0] for name in ("values", "residuals"))
    i = int(np.argmin(values))
    says = f"lowest of {len(values)} checkpoints, 512 random pairs each, not converged"
    middle = float(np.median(values))
    return _depth(run, DEEPEST, int(found["steps"][i]), float(values[i]), float(residuals[i]), np.nan, says, middle)


def _end(run: Run) -> Depth | None:
    found = results.read(run, "hessian")
    last = [point for point in found["checkpoints"] if [point["step"]] == run.snapshots()[-1:]] if found else []
    if not last:
        return None
    (H,) = (ends for ends in last[0]["ends"] if ends["operator"] == "H")
    value, residual = (float(H["lowest"][name][0]) for name in ("values", "residuals"))
    says = f"last snapshot, {H['products']} products, all pairs"
    return _depth(run, END, last[0]["step"], value, residual, float(H["highest"]["values"][0]), says)
