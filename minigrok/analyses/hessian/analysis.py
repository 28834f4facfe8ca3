"""Curvature of the training loss at a few snapshots: how large, which part, in which directions, and is it converged.

Operators (all training pairs, float64; definitions in minigrok.analyses.shared.curvature)
    H, H of each task, G, H - G       both ends of the spectrum by Lanczos with full reorthogonalisation
    H inside B, H outside B           B: the paper's execution manifold (top centred PCs of each attention matrix)
    H inside random B                 the null: as many random directions in the same matrices
Every value has its residual r = |A y - value y|: an eigenvalue lies within r, and it counts as converged if
r <= tolerance |value|. An outermost value is never beyond the true end: an unconverged lowest one is too high.
H outside B starts from the outermost vectors of H, less their part in B; its true lowest is between H's and its value.
For comparisons between runs: lowest / highest, lowest / |gradient|, the loss, and the decay clock lr wd t beside each.
Traces: Hutchinson, a fixed number of probes n ("draws"). "trace low" and "trace high" are mean -/+ t_(n-1) standard
errors (minigrok.statistics.intervals): 95 % for normal draws. With one dominant eigenvalue draws are skew, and 6 probes
cover .84, 20 cover .89.
Density: stochastic Lanczos quadrature, a curve a start; "resolved %" says how much of a curve was measured.
Protocol "paper" is in minigrok.analyses.hessian.paper.
Memory at the paper's size: 1.4 GB for the tapes of 4608 pairs, 0.2 GB for 80 Lanczos vectors.
Source: arXiv:2602.18523, Hessian figures; everything else: minigrok.
"""

from collections.abc import Sequence

import numpy as np

from minigrok.analyses.base import Analysis, Cost, Work, checkpoint_steps
from minigrok.analyses.hessian import paper
from minigrok.analyses.hessian.figure import figure
from minigrok.analyses.hessian.measure import Site, plan
from minigrok.analyses.hessian.result import PRODUCTS, Paper, Result, Settings
from minigrok.analyses.hessian.table import table
from minigrok.analyses.shared.cost import START, host, measured_seconds
from minigrok.analyses.shared.curvature import Curvature, Meter, groups
from minigrok.analyses.shared.trajectories import attention_matrices, trajectory
from minigrok.geometry.bases import Basis
from minigrok.storage.runs import Run

CHECKPOINTS = 3  # our choice, for cost: some 8 minutes of one core each run at the paper's size
HISTORY = 300  # snapshots that make the manifold, at most, evenly thinned: our choice


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result | Paper:
    """Return the curvature at the chosen snapshots of one run."""
    run = runs[0]
    if settings.protocol == "paper":
        return paper.compute(run, settings, work)
    steps, optimiser, tasks = _steps(run, settings), run.config.optimiser, list(run.config.task.operations)
    basis, masks = _manifold(run, settings), groups(run.layout)
    parts = plan(settings, tasks, basis.rank)
    meter = Meter(work, len(steps) * sum(part.products for part in parts))
    curvature, found = Curvature(run, meter.tick), []
    rows = np.stack([*masks.values(), np.ones(run.layout.size, np.bool_)])
    for step in steps:
        theta = run.load_snapshot(step).astype(np.float64)
        site = Site(step, theta, basis, rows, curvature, settings, meter)
        found.append(site.measure(parts, optimiser.clock(step)))
    sizes = [int(row.sum()) for row in rows]
    return Result(run.folder.name, tasks, list(masks), sizes, found, _missing(run, settings, basis))


def _steps(run: Run, settings: Settings) -> list[int]:
    return checkpoint_steps(run, settings.protocol, 1, settings.own(settings.most, CHECKPOINTS, paper.CHECKPOINTS))


def _manifold(run: Run, settings: Settings) -> Basis:
    """Basis of the execution manifold, from the whole run; no columns if it is not wanted or nothing moved."""
    if "manifold" not in settings.parts:
        return Basis([], run.layout.size)
    rows = np.array(checkpoint_steps(run, "exact", 1, HISTORY))
    return trajectory(run, rows).attention(_components(run, settings))


def _components(run: Run, settings: Settings) -> int:
    return settings.components or max(2, len(run.config.task.operations))


def _missing(run: Run, settings: Settings, basis: Basis) -> list[str]:
    said = []
    if "tasks" in settings.parts and len(run.config.task.operations) == 1:
        said.append("H of each task: there is one task, and H is its Hessian")
    if "manifold" in settings.parts:
        wanted = _components(run, settings) * len(attention_matrices(run))
        if basis.rank < wanted:
            n = len(run.snapshots())
            said.append(f"manifold: {wanted} directions; {n} snapshots span {basis.rank}")
    return said


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the products of all snapshots."""
    run, each = runs[0], measured_seconds(runs[0]).hvp
    steps = _steps(run, settings)
    gigabytes = 8e-9 * run.layout.size * (settings.products or PRODUCTS)
    if settings.protocol == "paper":
        n = paper.products(settings) * len(paper.modes(run))
        each *= min(1.0, paper.SAMPLE / run.config.task.n_train)
    else:
        K = _components(run, settings) * len(attention_matrices(run)) if "manifold" in settings.parts else 0
        n = sum(part.products for part in plan(settings, run.config.task.operations, K))
    memory = f"{gigabytes:.2g} GB for Lanczos vectors beside the tapes of {run.config.task.n_train} pairs"
    words = f"{len(steps)} snapshots x {n} products x {each:.2g} s (timed just now), {memory}"
    return Cost(host(START) + len(steps) * n * each, words)


ANALYSIS = Analysis(
    "How curved is the loss, in which directions, and is the number converged?",
    "arXiv:2602.18523, Hessian eigenvalues; residuals, full data, parts, traces, density and manifold: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
