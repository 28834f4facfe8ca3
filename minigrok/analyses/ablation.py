"""Ablation: which principal components of the attention matrices' trajectories the grokked network needs.

Columns: the first PCs of each attention matrix's trajectory (centred; from the initial weights), matrix by matrix.
What is kept of a matrix is V V^T (W_final - origin), and the origin is added back. Studies:
    components                   PC 1, 1-2, 1-3 of every matrix kept, or PC 1, 1-2 taken away; 1 or 2 random directions
                                 a matrix; none. The rest of the network is final (figABL1)
    first columns, rest origin   the first k of 8 x 8 columns; all else, embeddings too, at the origin (figABL2)
    first columns, rest final    the first k of 10 x 8 columns; all else final (figABL3)
    by variance, ...             the same columns, but the one with most variance of all matrices first
    random, rest final           k random directions, spread over the matrices in turn (figABL3: of all of attention)
    random, rest origin          k random directions of all parameters (figABL2)
THE COLUMN-ORDER ARTEFACT of figABL2 and figABL3: columns stand matrix by matrix, so the first 16 (20) are all of W_Q
and W_K of the first layer, and six of the eight matrices are at their INITIAL values whatever k is. Chance accuracy
there says nothing of the others' components; figABL2 would fail with any, its embeddings are random. The column
"matrices" says which matrices the kept columns lie in.
of "zero": trajectories from 0, uncentred, and 0 instead of the initial weights.
Protocol "paper": the attention log, the last checkpoint, float32, from init, without the order by variance, his k. In
figABL3 the biases of attention go back to their initial values too, and in figABL1 "init" is the whole initial network.
Source: arXiv:2602.18523 (code aa4e72f), eigenvector ablations; order by variance, from zero, nulls: minigrok.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, NamedTuple

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Analysis, Cost, Protocol, Row, Work, attention_steps
from minigrok.analyses.shared.cost import scored
from minigrok.analyses.shared.curves import Curve, Network, chosen, point_rows
from minigrok.analyses.shared.curves_figure import curves_figure
from minigrok.analyses.shared.trajectories import attention_matrices, load
from minigrok.checks import Between
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.geometry import subspace
from minigrok.plotting import Figure
from minigrok.storage.runs import Run
from minigrok.training.counters import more_steps


class Study(NamedTuple):
    """A row of ablated networks.

    Attributes
    ----------
    order : str       of the columns, of which the first k are kept: "first", "by variance", "random"; "": COMPONENTS
    rest : str        where all else of the network is: "origin" or "final"
    ks : tuple        numbers of columns that the paper keeps; none: it has no such curve
    is_exact : bool   the exact protocol has it
    """

    order: str
    rest: str
    ks: tuple[int, ...] = ()
    is_exact: bool = True

    def is_of(self, protocol: Protocol) -> bool:
        """Whether a protocol has it."""
        return bool(self.ks or not self.order) if protocol == "paper" else self.is_exact


class Choice(NamedTuple):
    """Columns of every matrix: the first `size` ones or random ones, kept or taken away; `rest` as of a `Study`."""

    size: int
    is_random: bool = False
    is_removed: bool = False
    rest: str = "final"


STUDIES = {
    "components": Study("", "final"),
    "first columns, rest origin": Study("first", "origin", (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)),
    "first columns, rest final": Study("first", "final", tuple(range(1, 21))),
    "by variance, rest origin": Study("by variance", "origin"),
    "by variance, rest final": Study("by variance", "final"),
    "random, rest origin": Study("random", "origin", (1, 2, 16), is_exact=False),
    "random, rest final": Study("random", "final", (1, 2, 5, 16)),
}
COMPONENTS = {
    "PC 1": Choice(1),
    "PC 1-2": Choice(2),
    "PC 1-3": Choice(3),
    "no PC 1": Choice(1, is_removed=True),
    "no PC 1-2": Choice(2, is_removed=True),
    "random 1": Choice(1, is_random=True),
    "random 2": Choice(2, is_random=True),
}
NONE = {"exact": {"none": Choice(0)}, "paper": {"init": Choice(0, rest="origin")}}
ATTENTION = "*.self_attn.*"
EACH = {"origin": 8, "final": 10}  # PCs of each matrix, by `rest` (paper)
GRID = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80)  # k of the exact protocol: our choice


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of ablation.

    Attributes
    ----------
    protocol : str         "exact" or "paper"
    parts : list of str    studies; none: all of the protocol
    most : int             snapshots of the trajectory, evenly thinned; 0: 300 (our choice), or the paper's: all
    repeats : int          draws of noise for each changed network (our choice: 1)
    """

    name = "ablation"
    parts: tuple[str, ...] = ()
    most: Annotated[int, Between(3, MANY, or_zero=True)] = 0
    repeats: Annotated[int, Between(0, 10_000)] = 1

    def __post_init__(self) -> None:
        """Check that the protocol has every part, too."""
        super().__post_init__()
        self.chosen_parts()

    def chosen_parts(self) -> list[str]:
        """Return the parts that are asked for, or all that the protocol has; a ConfigError names one that it lacks."""
        known = [name for name, study in STUDIES.items() if study.is_of(self.protocol)]
        return chosen(self.parts, known, self.name, self.protocol)


@dataclass(frozen=True)
class Column:
    """A direction in one matrix: unit vector (n,), its place in theta, and the trajectory's variance along it."""

    matrix: str
    place: slice
    vector: Array
    variance: float


class Kept(NamedTuple):
    """What a network keeps of delta, or has lost; `rest` as of a `Study`."""

    columns: list[Column]
    rest: str
    is_removed: bool = False


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
    curves, matrices = curves_of(network, settings, work)
    return Result(run.folder.name, settings.protocol, network.steps[-1], network.names, curves, matrices)


def curves_of(network: Network, settings: Settings, work: Work) -> tuple[list[Curve], list[list[str]]]:
    """Return the curves of every study that is asked for, and the matrices of each point's columns."""
    references, repeats = (("init",), 0) if settings.protocol == "paper" else (("init", "zero"), settings.repeats)
    jobs = [(name, reference) for name in settings.chosen_parts() for reference in references]
    steps = attention_steps(network.run, settings.protocol, 2, settings.own(settings.most, 300))
    columns = {reference: trajectory_columns(network, reference, steps) for reference in references}
    curves, matrices = [], []
    for i, (name, reference) in enumerate(jobs):
        work.report(i, len(jobs), f"{name}, {reference}")
        rng = work.rng(f"ablation/{name}/{reference}")
        kept = kept_columns(network, STUDIES[name], columns[reference], settings.protocol, rng)
        changed = changed_networks(network, reference, kept, _reset(network, STUDIES[name], settings.protocol))
        curves.append(network.curve(name, reference, changed, repeats, work))
        matrices.append([", ".join(dict.fromkeys(c.matrix for c in each.columns)) for each in kept.values()])
    return curves, matrices


def trajectory_columns(network: Network, reference: str, steps: list[int]) -> list[list[Column]]:
    """Return the first 10 components of each attention matrix's trajectory, in the order of their variance.

    Raises
    ------
    RunFolderError
        None of the matrices moves.
    """
    found = []
    for name, place in attention_matrices(network.run).items():
        X = load(network.run, steps, place).astype(np.float64) - network.origin(reference)[place]
        G = subspace.gram(X)
        is_centred = reference == "init"
        spectrum = subspace.pca(subspace.centred(G) if is_centred else G)
        V = subspace.components(X, spectrum, max(EACH.values()), is_centred)
        found.append([Column(name, place, v, float(s)) for v, s in zip(V.T, spectrum.variances, strict=False)])
    if not any(found):
        required = f"attention weights of {network.run.folder} that move"
        raise RunFolderError(required, f"the same in all of {len(steps)} snapshots", more_steps(network.run))
    return found


def kept_columns(
    network: Network, study: Study, columns: list[list[Column]], protocol: Protocol, rng: np.random.Generator
) -> dict[float | str, Kept]:
    """Return what each network of a study keeps, by x: the name of its components, or the number of columns."""
    if not study.order:
        choices = COMPONENTS | NONE[protocol]
        return {name: Kept(_of_each(columns, c, rng), c.rest, c.is_removed) for name, c in choices.items()}
    ordered = _ordered(study, columns, rng)
    if protocol == "paper" and study.order == "random":
        ordered = _anywhere(network, study, max(study.ks), rng)
    ks = study.ks if protocol == "paper" else GRID
    return {k: Kept(ordered[:k], study.rest) for k in ks if k <= len(ordered)}


def _ordered(study: Study, columns: list[list[Column]], rng: np.random.Generator) -> list[Column]:
    """Return the columns of all matrices in the order of a study."""
    each = EACH[study.rest]
    ordered = [column for matrix in columns for column in matrix[:each]]
    if study.order == "by variance":
        ordered.sort(key=lambda column: -column.variance)
    if study.order == "random":
        randoms = [_random(matrix, each, rng) for matrix in columns]
        ordered = [matrix[i] for i in range(each) for matrix in randoms if i < len(matrix)]
    return ordered


def _anywhere(network: Network, study: Study, count: int, rng: np.random.Generator) -> list[Column]:
    """Return the paper's random directions: of all parameters, or of all arrays of attention, biases too."""
    size, name = len(network.init), "all" if study.rest == "origin" else "attention"
    inside = np.flatnonzero(network.layout.group(["*" if study.rest == "origin" else ATTENTION]))
    V = np.zeros((count, size))
    V[:, inside] = subspace.orthonormal(rng.standard_normal((len(inside), count))).T
    return [Column(name, slice(0, size), v, 0.0) for v in V]


def _of_each(columns: list[list[Column]], choice: Choice, rng: np.random.Generator) -> list[Column]:
    size = choice.size
    picked = [_random(matrix, size, rng) if choice.is_random else matrix[:size] for matrix in columns]
    return [column for matrix in picked for column in matrix]


def _random(columns: list[Column], count: int, rng: np.random.Generator) -> list[Column]:
    """Return random orthonormal directions in the place of a matrix' columns."""
    if not columns:
        return []
    n = len(columns[0].vector)
    Q = subspace.orthonormal(rng.standard_normal((n, min(count, n))))
    return [Column(columns[0].matrix, columns[0].place, q, 0.0) for q in Q.T]


def _reset(network: Network, study: Study, protocol: Protocol) -> Array:
    """Mask (P,) of what is at the origin until columns are added: attention's matrices, in figABL3 its biases too."""
    mask = np.zeros(len(network.init), np.bool_)
    for place in attention_matrices(network.run).values():
        mask[place] = True
    return network.layout.group([ATTENTION]) if protocol == "paper" and study.order else mask


def changed_networks(
    network: Network, reference: str, kept: dict[float | str, Kept], reset: Array
) -> dict[float | str, Callable[[], Array]]:
    """Return the functions that make the networks of a study, by x; reset (P,) bool: what is ablated."""
    origin = network.origin(reference)
    delta = network.final - origin

    def ablated(what: Kept) -> Array:
        theta = (origin if what.rest == "origin" else network.final).copy()
        theta[reset] = (network.final if what.is_removed else origin)[reset]
        for column in what.columns:
            part = column.vector * (column.vector @ delta[column.place])
            theta[column.place] += -part if what.is_removed else part
        return theta

    return {x: partial(ablated, what) for x, what in kept.items()}


def table(result: Result) -> list[Row]:
    """One row an ablated network; "matrices": in which ones the columns lie."""
    rows = point_rows(result.run, result.step, result.tasks, result.curves)
    lies = [names for each in result.matrices for names in each]
    return [row | {"matrices": names or "none"} for row, names in zip(rows, lies, strict=True)]


def notes(result: Result) -> dict[str, str]:
    """Return the artefact by its name, for the title of the panels that have it."""
    found = {}
    for curve, matrices in zip(result.curves, result.matrices, strict=True):
        study = STUDIES[curve.study]
        if study.order == "first":
            many = min(study.ks[-1], int(curve.x[-1]))
            last = [names for k, names in zip(curve.x, matrices, strict=True) if k <= many][-1]
            found[curve.study] = f"column-order artefact:\nthe first {many} are {last} alone"
    return found


def figure(result: Result) -> Figure:
    """One panel a study."""
    title = f"{result.run}: step {result.step:,} with components of attention taken away"
    return curves_figure(title, result.tasks, result.curves, notes(result))


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the networks that are scored; noise alone on test pairs alone."""
    return scored(runs[0], 45 if settings.protocol == "paper" else 2 * 90 * (1 + settings.repeats / 2))


ANALYSIS = Analysis(
    "Which principal components of the attention weights does the grokked network need, in which order?",
    "arXiv:2602.18523, eigenvector ablations; columns by variance, random ones, from zero: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
