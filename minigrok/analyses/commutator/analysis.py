"""The commutator of two gradient steps, and what of it is rounding, normalisation or chance.

At each checkpoint, for each of K pairs of batches A, B (formulas: minigrok.geometry.brackets):
    exact       D of the bracket H_B g_A - H_A g_B, two Hessian products in float64
    float64     D of the finite difference at eta = 1e-3 in float64: differs from exact by O(eta)
    float32     the paper's procedure: finite difference, float32, 1e-12 in the denominator
    floor       the float32 procedure with H = 0: what rounding alone prints
    error       how far float32 is from float64 in units of D: where it is near D, the paper's number is rounding
and always |bracket|, |g_A|, |g_B| beside D, since D can grow while the bracket falls; cos(g_A, g_B); the share of the
bracket's energy in the attention weights.
Modes: the total loss on both sides; task i on A and task j on B; task i on both. The total is a sum, with the Hessian
of every task, so cross / total has no neutral value of 1: "/ total" of the same-task pairs is what to hold it against.
Shares of the bracket inside and outside of the execution manifold (minigrok.geometry.bases), built from the whole run
as in the paper and from the past alone, over what random bases of the same blocks hold. "chance low" and "chance high"
are the band of one random basis (minigrok.statistics.intervals), a median over the pairs of batches; "covers" is the
chance that one more lies inside. Not rho: sqrt(1 - K / P) is 1 to four digits for every vector.
eta sweep: exact does not depend on eta, float64 tends to it with slope 1, the float32 floor goes as 1 / eta^2.
Protocol "paper": total and cross-task at 100 checkpoints at most (three tasks: 80), float32 only, median and 90th
percentile of K = 9, rho of one more draw in a basis of the whole attention log; the exact zeros, where both steps are
below the spacing of float32 numbers, are kept and shown as zeros.
Defects of the original that are not reproduced: norms summed in float32, 2.5e-5 too low; the pictures of three tasks,
which show weight decay 0, because every weight decay wrote to the same file.
Source: arXiv:2602.18523 (code aa4e72f), defect and integrability; exact bracket, floor, modes of one task: minigrok.
"""

from collections.abc import Sequence

import numpy as np

from minigrok.analyses.base import Analysis, Cost, Work, checkpoint_steps
from minigrok.analyses.commutator.figure import figure
from minigrok.analyses.commutator.measure import ETAS, Measurement
from minigrok.analyses.commutator.result import Result, Settings
from minigrok.analyses.commutator.table import table
from minigrok.analyses.shared.cost import START, host, measured_seconds
from minigrok.analyses.shared.probes import Mode, modes
from minigrok.storage.milestones import milestones
from minigrok.storage.runs import Run

CANNOT_FAIL = "rho is within 0.01 % of 1 for every vector that does not know the basis: it cannot fail"


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the commutators of a run at its checkpoints."""
    run = runs[0]
    steps = _steps(run, settings)
    measurement = Measurement(run, _modes(run, settings), settings, work)
    parts = work.parts([f"{step:06d}" for step in steps], lambda i: measurement.checkpoint(steps[i]))
    names = {name for part in parts for name in part}
    shape = np.full(len(measurement.modes), np.nan)
    stacked = {name: np.stack([part.get(name, shape) for part in parts]) for name in sorted(names)}
    at = _sweep_steps(steps, settings)
    swept = work.parts([f"sweep-{step:06d}" for step in at], lambda i: measurement.sweep(at[i]))
    notes = [CANNOT_FAIL] if measurement.is_paper else []
    if not measurement.whole.rank:
        notes.append("no shares: the basis needs two snapshots that differ")
    return Result(
        run.folder.name,
        settings.protocol,
        np.array(steps),
        [mode.name for mode in measurement.modes],
        {task: reached.grokked_at for task, reached in milestones(run.config, run.metrics()).items()},
        {name: values for name, values in stacked.items() if values.ndim == 3},
        {name: values for name, values in stacked.items() if values.ndim == 2},
        np.array(at),
        {name: np.stack([part[name] for part in swept]) for name in (swept[0] if swept else ())},
        np.array(ETAS),
        measurement.whole.rank,
        run.layout.size,
        settings.draws,
        notes,
    )


def _steps(run: Run, settings: Settings) -> list[int]:
    return checkpoint_steps(run, settings.protocol, 1, settings.checkpoints(run.config))


def _modes(run: Run, settings: Settings) -> list[Mode]:
    found = modes(run.config.task.operations, same=settings.protocol != "paper")
    return found if settings.pairs else found[:1]


def _sweep_steps(steps: list[int], settings: Settings) -> list[int]:
    """Evenly spaced checkpoints of the eta sweep; none under the paper's protocol."""
    count = 0 if settings.protocol == "paper" else min(settings.sweep, len(steps))
    return [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, count).astype(int))]


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the products and time one of each."""
    run, seconds = runs[0], measured_seconds(runs[0])
    steps, M = _steps(run, settings), len(_modes(run, settings))
    if settings.protocol == "paper":
        single, double, products = 4 * len(steps) * M * (settings.K + 1), 4 * len(steps) * M, 0
    else:
        points, swept = len(steps) * M * settings.K, len(_sweep_steps(steps, settings))
        single, double, products = 4 * points + 20 * swept, 4 * points + 12 * swept, 2 * (points + swept)
    total = single * seconds.grad32 + double * seconds.grad64 + products * seconds.hvp64
    words = f"{single:,} gradients in float32, {double:,} in float64"
    return Cost(host(START) + total, words + (f", {products:,} Hessian products" if products else ""))


ANALYSIS = Analysis(
    "Does the order of two gradient steps matter more and more as the network comes to generalise?",
    "arXiv:2602.18523, commutator defect; exact bracket, rounding floor, block-matched chance: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
