"""Curvature of the training loss at a few snapshots: how large, which part, in which directions, and is it converged.

Operators (all training pairs, float64; definitions in minigrok.analyses.shared.curvature)
    H, H of each task, G, H - G       both ends of the spectrum by Lanczos with full reorthogonalisation
    H inside B, H outside B           B: the paper's execution manifold (top centred PCs of each attention matrix)
    H inside random B                 the null: as many random directions in the same matrices
Every value has its residual r = |A y - value y|: an eigenvalue lies within r, and it counts as converged if
r <= tolerance |value|. An outermost value is never beyond the true end: an unconverged lowest one is too high.
H outside B starts from the outermost vectors of H, less their part in B; its true lowest is between H's and its value.
For comparisons between runs: lowest / highest, lowest / |gradient|, the loss, and the decay clock lr wd t beside each.
Traces: Hutchinson, a fixed number of probes, standard errors. Density: stochastic Lanczos quadrature, a curve a probe.
Protocol "paper" is in minigrok.analyses.hessian_paper.
Memory at the paper's size: 1.4 GB for the tapes of 4608 pairs, 0.2 GB for 80 Lanczos vectors.
Source: arXiv:2602.18523, Hessian figures; everything else: minigrok.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from minigrok.analyses import hessian_figure, hessian_paper
from minigrok.analyses.base import Analysis, Row, Work, snapshot_steps
from minigrok.analyses.hessian_checkpoint import OPERATORS, PRODUCTS, Checkpoint, Site, Traced, plan
from minigrok.analyses.hessian_paper import Paper
from minigrok.analyses.shared.curvature import Curvature, End, Ends, Meter, exactly, groups
from minigrok.analyses.shared.trajectories import attention_matrices, load
from minigrok.checks import at_least, check_types, nearest, require
from minigrok.errors import ConfigError
from minigrok.geometry.bases import Basis, Trajectory
from minigrok.storage.runs import Run

PARTS = ("tasks", "split", "manifold", "traces", "density")
COLUMNS = (
    *("size", "lowest", "lowest residual", "lowest converged", "highest", "highest residual", "highest converged"),
    *("lowest / highest", "lowest / |gradient|", "trace", "trace error", "products", "says"),
)
CHECKPOINTS = 3  # our choice, for cost: some 8 minutes of one core each run at the paper's size
HISTORY = 300  # snapshots that make the manifold, at most, evenly thinned: our choice


@dataclass(frozen=True)
class Settings:
    """Settings of hessian.

    Attributes
    ----------
    protocol : str          "exact" or "paper"
    most : int              snapshots, evenly spaced, both ends kept; 0: 3 (our choice: cost), or the paper's 30
    products : int          Lanczos steps for H and for each task; a quarter of them for G, a third for H - G and each
                            more probe of the density, a fifth for H outside B; 0: 80 (our choice: cost), or the
                            paper's 25
    parts : list of str     beside H: from tasks, split (G and H - G), manifold, traces, density. "tasks" costs another
                            80 products a task and is left out unless asked for
    values : int            at each end (our choice: 3)
    tolerance : float       residual / |value| of a converged value (our choice: 0.01)
    components : int        PCs of each attention matrix; 0: one a task, 2 at least (paper: 2 for two, 3 for three)
    nulls : int             random bases (our choice: 1, for cost; 16 products each at the paper's size)
    probes : int            of the traces, two products each (our choice: 6)
    density_probes : int    random starts of the density, the first of them H's own (our choice: 2)
    """

    protocol: str = "exact"
    most: int = 0
    products: int = 0
    parts: tuple[str, ...] = PARTS[1:]
    values: int = 3
    tolerance: float = 0.01
    components: int = 0
    nulls: int = 1
    probes: int = 6
    density_probes: int = 2

    def __post_init__(self) -> None:
        check_types(self, "hessian")
        at_least(0, self, "hessian", "most", "products", "components")
        at_least(1, self, "hessian", "values", "nulls", "probes", "density_probes")
        require(0 < self.tolerance < 1, "hessian.tolerance", "between 0 and 1", self.tolerance)
        for part in self.parts:
            if part not in PARTS:
                raise ConfigError(f"hessian.parts from {', '.join(PARTS)}", repr(part), nearest(part, PARTS))


@dataclass(frozen=True)
class Result:
    """Checkpoints of one run.

    Attributes
    ----------
    run : str
    tasks, groups : list of str
    sizes : list of int             parameters in each group, and in all
    checkpoints : list of Checkpoint
    missing : list of str           what could not be measured, and why
    """

    run: str
    tasks: list[str]
    groups: list[str]
    sizes: list[int]
    checkpoints: list[Checkpoint]
    missing: list[str]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result | Paper:
    """Return the curvature at the chosen snapshots of one run."""
    run = runs[0]
    if settings.protocol == "paper":
        return hessian_paper.compute(run, settings, work)
    steps, optimiser, tasks = _steps(run, settings), run.config.optimiser, list(run.config.task.operations)
    basis, masks = _manifold(run, settings), groups(run.layout)
    parts = plan(settings, tasks, basis.rank)
    meter = Meter(work, len(steps) * sum(parts.values()))
    curvature, found = Curvature(run, meter.tick), []
    rows = np.stack([*masks.values(), np.ones(run.layout.size, np.bool_)])
    for step in steps:
        theta = run.load_snapshot(step).astype(np.float64)
        site = Site(step, theta, basis, rows, curvature, settings, meter)
        found.append(site.measure(parts, optimiser.clock(step)))
    sizes = [int(row.sum()) for row in rows]
    return Result(run.folder.name, tasks, list(masks), sizes, found, _missing(run, settings, basis))


def _steps(run: Run, settings: Settings) -> list[int]:
    default = CHECKPOINTS if settings.protocol == "exact" else hessian_paper.CHECKPOINTS
    return snapshot_steps(run, 1, settings.most or default)


def _manifold(run: Run, settings: Settings) -> Basis:
    """Basis of the execution manifold, from the whole run; no columns if it is not wanted or nothing moved."""
    if "manifold" not in settings.parts:
        return Basis([], run.layout.size)
    X = load(run, snapshot_steps(run, 1, HISTORY), slice(0, run.layout.size))
    X -= X[0].copy()
    return Trajectory(X, attention_matrices(run)).attention(_components(run, settings))


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


def table(result: Result | Paper) -> list[Row]:
    """One row a snapshot and operator; traces of H by groups of parameters; what is missing."""
    if isinstance(result, Paper):
        return hessian_paper.table(result)
    rows = []
    for point in result.checkpoints:
        rows += [_spectrum(result, point, each) for each in point.ends] + _inside(result, point)
        rows += [_trace(result, point, g) for g in range(len(result.groups)) if point.traced]
    return rows + [_row(result, None, "missing") | {"says": words} for words in result.missing]


def _row(result: Result, point: Checkpoint | None, operator: str, task: int = -1) -> Row:
    """Return a row with every column, filled as far as the snapshot goes; task -1: the sum."""
    row: Row = {"run": result.run, "step": None, "lr wd t": None, "loss": None, "|gradient|": None}
    if point:
        loss = float(point.losses.sum() if task < 0 else point.losses[task])
        row |= {"step": point.step, "lr wd t": point.clock, "loss": loss, "|gradient|": float(point.slopes[task])}
    return row | {"operator": operator} | dict.fromkeys(COLUMNS)


def _spectrum(result: Result, point: Checkpoint, ends: Ends) -> Row:
    name = ends.operator.removeprefix("H of ")
    row = _row(result, point, ends.operator, result.tasks.index(name) if name in result.tasks else -1)
    row |= {"size": result.sizes[-1], "products": ends.products, "says": _says(ends)}
    row |= _end("lowest", ends.lowest) | _end("highest", ends.highest)
    lowest, highest, slope = row["lowest"], row["highest"], row["|gradient|"]
    if lowest is not None:
        row["lowest / highest"] = lowest / highest if highest > 0 else None
        row["lowest / |gradient|"] = lowest / slope if slope > 0 else None
    if point.traced and ends.operator in OPERATORS:
        row |= _moments(point.traced, OPERATORS.index(ends.operator), -1)
    return row


def _end(name: str, end: End) -> Row:
    if not end.values.size:
        return {}
    value, residual, converged = float(end.values[0]), float(end.residuals[0]), bool(end.converged[0])
    return {name: value, f"{name} residual": residual, f"{name} converged": converged}


def _says(ends: Ends) -> str:
    """Say which of the values are not converged."""
    words, good = [], np.concatenate([ends.lowest.converged, ends.highest.converged])
    for name, end, beyond in (("lowest", ends.lowest, "or below"), ("highest", ends.highest, "or above")):
        if end.values.size and not end.converged[0]:
            words.append(f"{name} not converged: {end.values[0]:.3g} {beyond}")
    return "; ".join([*words, f"{good.sum()} of {good.size} converged"])


def _inside(result: Result, point: Checkpoint) -> list[Row]:
    if point.inside is None:
        return []
    values, random, rows = point.inside.values, point.inside.random, []
    for name, found in (("H inside B", values[None]), ("H inside random B", random)):
        traces, n = found.sum(axis=1), len(found)
        row = _row(result, point, name) | {"size": values.size, "products": found.size, "trace": float(traces.mean())}
        row |= _end("lowest", exactly(found.min())) | _end("highest", exactly(found.max()))
        row["trace error"] = float(traces.std(ddof=1) / np.sqrt(n)) if n > 1 else None
        row["says"] = f"extremes of {n} random bases, mean trace" if name == "H inside random B" else "exact"
        rows.append(row)
    return rows


def _trace(result: Result, point: Checkpoint, group: int) -> Row:
    assert point.traced is not None
    row = _row(result, point, f"H in {result.groups[group]}")
    return row | {"size": result.sizes[group]} | _moments(point.traced, 0, group)


def _moments(traced: Traced, operator: int, group: int) -> Row:
    error = float(traced.error[operator, group])
    return {"trace": float(traced.mean[operator, group]), "trace error": None if np.isnan(error) else error}


def figure(result: Result | Paper) -> Figure:
    """Draw the picture of the protocol that was asked for."""
    return hessian_figure.paper(result) if isinstance(result, Paper) else hessian_figure.exact(result)


def cost(runs: Sequence[Run], settings: Settings) -> str:
    """Time one product and say what all of them will take."""
    run = runs[0]
    steps, curvature = _steps(run, settings), Curvature(run)
    at = curvature.at(run.load_snapshot(steps[-1]).astype(np.float64))
    direction = np.ones(run.layout.size)
    at.hessian(direction)  # compiles, and makes the passes that later products share
    start = time.perf_counter()
    at.hessian(direction)
    seconds, gigabytes = time.perf_counter() - start, 8e-9 * run.layout.size * (settings.products or PRODUCTS)
    if settings.protocol == "paper":
        n = hessian_paper.products(settings) * len(hessian_paper.modes(run))
        seconds *= min(1.0, hessian_paper.SAMPLE / run.config.task.n_train)
    else:
        K = _components(run, settings) * len(attention_matrices(run)) if "manifold" in settings.parts else 0
        n = sum(plan(settings, run.config.task.operations, K).values())
    minutes = len(steps) * n * seconds / 60
    memory = f"{gigabytes:.2g} GB for Lanczos vectors beside the tapes of {run.config.task.n_train} pairs"
    return f"{len(steps)} snapshots x {n} products x {seconds:.2g} s (timed just now) = {minutes:.1f} min; {memory}"


ANALYSIS = Analysis(
    "hessian",
    "How curved is the loss, in which directions, and is the number converged?",
    "arXiv:2602.18523, Hessian eigenvalues; residuals, full data, parts, traces, density and manifold: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
