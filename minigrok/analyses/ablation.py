"""Ablation: which principal components of the attention matrices' trajectories the grokked network needs.

Columns: the first PCs of each attention matrix's trajectory (centred; from the initial weights), matrix by matrix.
What is kept of a matrix is V V^T (W_final - origin), and the origin is added back. Studies:
    components                   PC 1, 1-2, 1-3 of every matrix kept, or PC 1, 1-2 taken away; 1 or 2 random directions
                                 a matrix; none. The rest of the network is final (figABL1)
    first columns, rest origin   the first k of 8 x 8 columns; all else, embeddings too, at the origin (figABL2)
    first columns, rest final    the first k of 10 x 8 columns; all else final (figABL3)
    by variance, ...             the same columns, but the one with most variance of all matrices first
    random, rest final           k random directions, spread over the matrices in turn
THE COLUMN-ORDER ARTEFACT of figABL2 and figABL3: columns stand matrix by matrix, so the first 16 (20) are all of W_Q
and W_K of the first layer, and six of the eight matrices are at their INITIAL values whatever k is. Chance accuracy
there says nothing of the others' components; figABL2 would fail with any, its embeddings are random. The column
"matrices" says which matrices the kept columns lie in.
of "zero": trajectories from 0, uncentred, and 0 instead of the initial weights.
Protocol "paper": from init, without the orders by variance and random ones, k up to 16 (20), float32.
Source: arXiv:2602.18523 (code aa4e72f), eigenvector ablations; order by variance, from zero, nulls: minigrok.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses.base import Analysis, Row, Work
from minigrok.analyses.shared.curves import Curve, Network, chosen, point_rows
from minigrok.analyses.shared.curves_figure import curves_figure
from minigrok.analyses.shared.trajectories import attention_matrices, load
from minigrok.checks import require
from minigrok.engine import Array
from minigrok.geometry import subspace
from minigrok.plotting import Figure
from minigrok.storage.runs import Run

PAPER_STUDIES = ("components", "first columns, rest origin", "first columns, rest final")
STUDIES = (*PAPER_STUDIES, "by variance, rest origin", "by variance, rest final", "random, rest final")
EACH = {"rest origin": 8, "rest final": 10}  # PCs of each matrix (paper)
PAPER_MOST = {"rest origin": 16, "rest final": 20}  # largest k (paper)
GRID = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80)  # k of the exact protocol: our choice
COMPONENTS = {  # name: (columns of each matrix kept or taken away, which)
    "PC 1": (1, "keep"),
    "PC 1-2": (2, "keep"),
    "PC 1-3": (3, "keep"),
    "no PC 1": (1, "remove"),
    "no PC 1-2": (2, "remove"),
    "random 1": (1, "random"),
    "random 2": (2, "random"),
    "none": (0, "keep"),
}


@dataclass(frozen=True)
class Settings:
    """Settings of ablation.

    Attributes
    ----------
    protocol : str         "exact" or "paper"
    parts : list of str    studies; none: all
    most : int             snapshots of the trajectory, evenly thinned (paper: all, ours: 300)
    repeats : int          draws of noise for each changed network (our choice: 1)
    """

    protocol: str = "exact"
    parts: tuple[str, ...] = ()
    most: int = 300
    repeats: int = 1

    def __post_init__(self) -> None:
        chosen(self.parts, STUDIES, "ablation")
        require(self.most >= 3, "most", "at least 3", self.most)
        require(self.repeats >= 0, "repeats", "at least 0", self.repeats)


@dataclass(frozen=True)
class Column:
    """A direction in one matrix: unit vector (n,), its place in theta, and the trajectory's variance along it."""

    matrix: str
    place: slice
    vector: Array
    variance: float


@dataclass(frozen=True)
class Result:
    """Curves of one run, and the matrices that the kept columns of each point lie in."""

    run: str
    protocol: str
    step: int
    tasks: list[str]
    curves: list[Curve]
    matrices: list[list[str]]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Score every ablated network."""
    run, network = runs[0], Network(runs[0], settings.protocol)
    known = PAPER_STUDIES if settings.protocol == "paper" else STUDIES
    references = ("init",) if settings.protocol == "paper" else ("init", "zero")
    jobs = [(s, r) for s in chosen(settings.parts, STUDIES, "ablation") if s in known for r in references]
    columns = {reference: trajectory_columns(network, reference, settings.most) for reference in references}
    curves, matrices = [], []
    for i, (study, reference) in enumerate(jobs):
        work.report(i, len(jobs), f"{study}, {reference}")
        rng = work.rng(f"ablation/{study}/{reference}")
        kept = kept_columns(study, columns[reference], settings.protocol, rng)
        changed = _changed(network, study, reference, kept)
        curves.append(network.curve(study, reference, changed, settings.repeats * (settings.protocol != "paper"), work))
        matrices.append([", ".join(dict.fromkeys(c.matrix for c in each)) for each in kept.values()])
    tasks = list(run.config.task.operations)
    return Result(run.folder.name, settings.protocol, network.steps[-1], tasks, curves, matrices)


def trajectory_columns(network: Network, reference: str, most: int) -> list[list[Column]]:
    """Return the first 10 components of each attention matrix's trajectory, in the order of their variance."""
    steps, found = subspace.thinned(network.steps, most), []
    for name, place in attention_matrices(network.run).items():
        X = load(network.run, steps, place).astype(np.float64) - network.origin(reference)[place]
        G = subspace.gram(X)
        is_centred = reference == "init"
        spectrum = subspace.pca(subspace.centred(G) if is_centred else G)
        V = subspace.components(X, spectrum, max(EACH.values()), is_centred)
        found.append([Column(name, place, v, float(s)) for v, s in zip(V.T, spectrum.variances, strict=False)])
    return found


def kept_columns(
    study: str, columns: list[list[Column]], protocol: str, rng: np.random.Generator
) -> dict[float | str, list[Column]]:
    """Return the columns that each network of a study keeps of delta (takes away, for "no PC ...")."""
    if study == "components":
        return {name: _of_each(columns, count, which, rng) for name, (count, which) in COMPONENTS.items()}
    order, rest = study.split(", ")
    ordered = [column for each in columns for column in each[: EACH[rest]]]
    if order == "by variance":
        ordered.sort(key=lambda column: -column.variance)
    if order == "random":
        randoms = [_random(each, EACH[rest], rng) for each in columns]
        ordered = [each[i] for i in range(EACH[rest]) for each in randoms if i < len(each)]
    grid = range(1, PAPER_MOST[rest] + 1) if protocol == "paper" else GRID
    return {k: ordered[:k] for k in grid if k <= len(ordered)}


def _of_each(columns: list[list[Column]], count: int, which: str, rng: np.random.Generator) -> list[Column]:
    picked = [_random(each, count, rng) if which == "random" else each[:count] for each in columns]
    return [column for each in picked for column in each]


def _random(columns: list[Column], count: int, rng: np.random.Generator) -> list[Column]:
    """Return random orthonormal directions in the place of a matrix' columns."""
    if not columns:
        return []
    n = len(columns[0].vector)
    Q = subspace.orthonormal(rng.standard_normal((n, min(count, n))))
    return [Column(columns[0].matrix, columns[0].place, q, 0.0) for q in Q.T]


def _changed(
    network: Network, study: str, reference: str, kept: dict[float | str, list[Column]]
) -> dict[float | str, Callable[[], Array]]:
    """Return the functions that make the networks of a study."""
    origin = network.origin(reference)
    delta = network.final - origin
    attention = attention_matrices(network.run).values()

    def network_of(columns: list[Column], is_removed: bool) -> Array:
        theta = origin.copy() if study.endswith("rest origin") else network.final.copy()
        for place in attention:
            theta[place] = network.final[place] if is_removed else origin[place]
        for column in columns:
            part = column.vector * (column.vector @ delta[column.place])
            theta[column.place] += -part if is_removed else part
        return theta

    return {x: lambda x=x, c=c: network_of(c, str(x).startswith("no ")) for x, c in kept.items()}  # type: ignore[misc]


def table(result: Result) -> list[Row]:
    """One row an ablated network; "matrices": in which ones the columns lie."""
    rows = point_rows(result.run, result.step, result.tasks, result.curves)
    lies = [names for each in result.matrices for names in each]
    return [row | {"matrices": names or "none"} for row, names in zip(rows, lies, strict=True)]


def notes(result: Result) -> dict[str, str]:
    """Return the artefact by its name, for the title of the panels that have it."""
    found = {}
    for curve, matrices in zip(result.curves, result.matrices, strict=True):
        if curve.study.startswith("first columns") and len(matrices):
            many = min(PAPER_MOST[curve.study.split(", ")[1]], int(curve.x[-1]))
            last = [names for k, names in zip(curve.x, matrices, strict=True) if k <= many][-1]
            found[curve.study] = f"column-order artefact:\nthe first {many} are {last} alone"
    return found


def figure(result: Result) -> Figure:
    """One panel a study."""
    title = f"{result.run}: step {result.step:,} with components of attention taken away"
    return curves_figure(title, result.tasks, result.curves, notes(result))


def cost(runs: Sequence[Run], settings: Settings) -> str:
    """Count the networks that are scored."""
    points = 44 if settings.protocol == "paper" else 2 * 90 * (1 + settings.repeats)
    return f"about {points} evaluations of all pairs, a minute or two"


ANALYSIS = Analysis(
    "ablation",
    "Which principal components of the attention weights does the grokked network need, in which order?",
    "arXiv:2602.18523, eigenvector ablations; columns by variance, random ones, from zero: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
