"""Task heads: are they orthogonal, and more or less so than chance and shared labels make them.

W_k (V, D) weights of task k's head, z (D,) the final LayerNorm's output at position 0, logits_k = W_k z + b_k.
    cosine       of vec(W_i) and vec(W_j), raw as in the paper. Null band: independent Gaussian heads, for which
                 cos^2 is Beta(1/2, (n - 1) / 2) with n = V D: the exact band of 95 % is some +-1.96 / sqrt(n) and
                 shrinks with size alone
    relabelled   the same after a random permutation of the classes of task j, `draws` of them: what is left is the
                 heads' mean row; what is lost came from classes that meet
    same label   share of all pairs (a, b) on which both tasks have the same class
The cosine changes under a renaming of one task's classes, which changes nothing in the network. These do not:
    rows         top r right singular vectors of W_k minus its mean row (which moves all logits alike)
    read z       span of Z^T l_1 .. Z^T l_r, Z (M, D) the centred z of all pairs, l the top left singular vectors of
                 Z W_k^T: the directions of z whose variation drives the top r components of the logits
Position of two such subspaces: overlap (mean cos^2) and smallest principal angle. Nulls: rows: random r-dimensional
subspaces of R^D; read z: Z^T l of random patterns l in the span of Z, so that the anisotropy of z is in the null.
low, high: band of `draws` draws (minigrok.statistics.intervals); "covers": the chance that one more lies inside.
Protocol "paper": the raw cosines alone, at every checkpoint.
Source: arXiv:2602.18523, near-orthogonal task heads (code aa4e72f); nulls, labels and subspaces: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
from scipy.stats import beta

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Analysis, Cost, Draws, Row, Work, checkpoint_steps, plain_row
from minigrok.analyses.shared.activations import Activations, read_by_heads
from minigrok.analyses.shared.cost import of_snapshots
from minigrok.checks import Between
from minigrok.engine import Array
from minigrok.geometry.bases import Basis, angles, random_angles
from minigrok.geometry.subspace import orthonormal
from minigrok.plotting import Axes, Figure, panel_grid
from minigrok.statistics.intervals import LEVEL, band, coverage
from minigrok.storage.runs import Run
from minigrok.tasks import pairs

MOST = 30  # checkpoints of the exact protocol: our choice
NOTHING = "one task: no second head to compare"
NAMES = ("rows", "read z")
WHATS = ("overlap", "angle", "overlap_random", "angle_random")


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of heads.

    Attributes
    ----------
    protocol : str    "exact" or "paper"
    most : int        checkpoints, evenly thinned; 0: 30 (our choice), or the paper's: all
    rank : int        r, at most D / 2 and V - 1 (our choice: 8)
    draws : int       of each random null (our choice: 100)
    """

    name = "heads"
    most: Annotated[int, Between(0, MANY)] = 0
    rank: Annotated[int, Between(1, MANY)] = 8
    draws: Draws = 100


@dataclass(frozen=True)
class Pair:
    """Two tasks at S checkpoints.

    Attributes
    ----------
    first, second : str
    same_label : float                 share of pairs with the same class
    cosine : (S,)
    band : float                       |cos| of independent Gaussian heads is below it with chance LEVEL
    relabelled : (S, 3)                mean and band over permutations of classes
    overlap, angle : dict of (S,)      by NAMES; mean cos^2, and smallest principal angle in degrees
    overlap_random, angle_random : dict of (S, 3)    mean and band of the null
    """

    first: str
    second: str
    same_label: float
    cosine: Array
    band: float
    relabelled: Array
    overlap: dict[str, Array]
    angle: dict[str, Array]
    overlap_random: dict[str, Array]
    angle_random: dict[str, Array]


@dataclass(frozen=True)
class Result:
    """Pairs of tasks of one run, and draws behind each band; no pair for a run of one task: then `says` says so."""

    run: str
    says: str
    steps: Array
    rank: int
    draws: int
    pairs: list[Pair]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the comparisons of every two heads at every checkpoint."""
    run = runs[0]
    tasks, D, V = run.config.task.operations, run.config.model.width, run.config.task.p
    steps = checkpoint_steps(run, settings.protocol, 1, settings.own(settings.most, MOST))
    rank = max(min(settings.rank, D // 2, V - 1), 1)
    if len(tasks) < 2:
        return Result(run.folder.name, NOTHING, np.array(steps), rank, settings.draws, [])
    couples = list(combinations(range(len(tasks)), 2))
    data, is_paper = pairs(run.config.task, run.config.seed), settings.protocol == "paper"
    activations = None if is_paper else Activations(run, data.tokens)

    def one(n: int) -> dict[str, Array]:
        theta, rng = run.load_snapshot(steps[n]), work.rng(f"heads/{steps[n]}")
        views = run.layout.views(theta)
        W = [views[f"heads.{task}.weight"].astype(np.float64) for task in tasks]
        Z = activations(theta, read_by_heads)["z"] if activations else None
        found = [compare(W[i], W[j], Z, rank, settings.draws, rng) for i, j in couples]
        return {name: np.array([each[name] for each in found]) for name in found[0]}

    parts = work.parts([f"{step:06d}" for step in steps], one)
    stacked = {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}  # (couples, S, ...)
    found = []
    for c, (i, j) in enumerate(couples):
        a = {name: values[c] for name, values in stacked.items()}
        same = float(np.mean(data.targets[i] == data.targets[j]))
        by = [{name: a[f"{what} {name}"] for name in NAMES if f"{what} {name}" in a} for what in WHATS]
        found.append(Pair(tasks[i], tasks[j], same, a["cosine"], independent(V * D), a["relabelled"], *by))
    return Result(run.folder.name, "", np.array(steps), rank, settings.draws, found)


def compare(A: Array, B: Array, Z: Array | None, rank: int, draws: int, rng: np.random.Generator) -> dict[str, Array]:
    """Return every comparison of two heads A, B (V, D); without Z (M, D) only those of the weights as they are."""
    relabelled = [cosine(A, rng.permutation(B)) for _ in range(draws)]
    found = {"cosine": np.array(cosine(A, B)), "relabelled": _mean_and_band(relabelled)}
    if Z is None:
        return found
    _, s, Vt = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
    z = (s, Vt)
    spans = {
        "rows": (row_space(A, rank), row_space(B, rank)),
        "read z": (read_space(A, z, rank), read_space(B, z, rank)),
    }
    for name, (a, b) in spans.items():
        seen = angles(a, b)
        if name == "rows":
            drawn = [random_angles(a, b, rng) for _ in range(draws)]
        else:
            drawn = [angles(random_read(z, a.rank, rng), random_read(z, b.rank, rng)) for _ in range(draws)]
        found |= {f"overlap {name}": np.array(seen.overlap), f"angle {name}": np.array(seen.smallest)}
        found |= {f"overlap_random {name}": _mean_and_band([each.overlap for each in drawn])}
        found |= {f"angle_random {name}": _mean_and_band([each.smallest for each in drawn])}
    return found


def independent(n: int) -> float:
    """Return what |cos| of two independent Gaussian vectors in R^n is below with chance LEVEL."""
    return float(np.sqrt(beta.ppf(LEVEL, 0.5, (n - 1) / 2)))


def cosine(A: Array, B: Array) -> float:
    """Return the cosine of two flattened matrices; nan if one is zero."""
    size = float(np.linalg.norm(A) * np.linalg.norm(B))
    return float(np.sum(A * B)) / size if size > 0 else float("nan")


def row_space(W: Array, rank: int) -> Basis:
    """Return the top `rank` right singular vectors of W (V, D) minus its mean row."""
    _, s, Vt = np.linalg.svd(W - W.mean(axis=0), full_matrices=False)
    return _basis(Vt[:rank][s[:rank] > len(W) * np.finfo(float).eps * s[0]].T)


def read_space(W: Array, z: tuple[Array, Array], rank: int) -> Basis:
    """Return the directions of z that drive the top components of W z; z = (s, Vt) of the centred Z."""
    kept = z[0] > len(z[0]) * np.finfo(float).eps * z[0][0]
    s, Vt = z[0][kept], z[1][kept]
    if not len(s):
        return _basis(np.zeros((W.shape[1], 0)))
    L, strength, _ = np.linalg.svd(s[:, None] * (Vt @ (W - W.mean(axis=0)).T), full_matrices=False)
    good = strength[:rank] > len(s) * np.finfo(float).eps * strength[0]
    return _basis(orthonormal(Vt.T @ (s[:, None] * L[:, :rank][:, good])))


def random_read(z: tuple[Array, Array], rank: int, rng: np.random.Generator) -> Basis:
    """Return what `read_space` returns for random patterns of logits."""
    s, Vt = z
    return _basis(orthonormal(Vt.T @ (s[:, None] * rng.standard_normal((len(s), rank)))))


def _basis(B: Array) -> Basis:
    return Basis([(B, slice(0, len(B)))] if B.shape[1] else [], len(B))


def _mean_and_band(draws: Sequence[float]) -> Array:
    return np.array([np.mean(draws), *band(np.array(draws))])


def table(result: Result) -> list[Row]:
    """One row a pair and checkpoint."""
    if not result.pairs:
        return [{"run": result.run, "says": result.says}]
    return [_row(result, pair, n) for pair in result.pairs for n in range(len(result.steps))]


def _row(result: Result, pair: Pair, n: int) -> Row:
    row: Row = {"run": result.run, "tasks": f"{pair.first}, {pair.second}", "step": int(result.steps[n])}
    row |= {"cosine": float(pair.cosine[n]), "chance +-": pair.band, "same label %": 100 * pair.same_label}
    relabelled = pair.relabelled[n].tolist()
    row |= dict(zip(("relabelled", "relabelled low", "relabelled high"), relabelled, strict=True))
    for name in pair.overlap:
        row |= {f"{name}: overlap": float(pair.overlap[name][n])}
        row |= {f"{name}: random": float(pair.overlap_random[name][n][0])}
        row |= {f"{name}: random high": float(pair.overlap_random[name][n][2])}
        row |= {f"{name}: angle": float(pair.angle[name][n]), f"{name}: r. angle": float(pair.angle_random[name][n][0])}
    return plain_row(row | {"draws": result.draws, "covers": coverage(result.draws)})


def figure(result: Result) -> Figure:
    """Cosines, and overlaps of rows and of read subspaces, each with its null band; a row of panels a pair."""
    kinds = list(result.pairs[0].overlap) if result.pairs else []
    title = f"{result.run}: task heads" + (f", subspaces of rank {result.rank}" if kinds else "")
    drawn, axes = panel_grid(max(len(result.pairs), 1) * (1 + len(kinds)), title, columns=1 + len(kinds), size=(4.4, 3))
    if not result.pairs:
        axes[0].text(0.5, 0.5, result.says, ha="center", va="center", transform=axes[0].transAxes)
        axes[0].set_axis_off()
    free = iter(axes)
    for pair in result.pairs:
        _cosines(next(free), result, pair)
        for name in kinds:
            _overlaps(next(free), result, pair, name)
    return drawn


def _cosines(axis: Axes, result: Result, pair: Pair) -> None:
    axis.axhspan(-pair.band, pair.band, color="0.88", zorder=0, label="independent heads, 95 %")
    mean, low, high = pair.relabelled.T
    _fill(axis, result, low, high, "relabelled")
    axis.plot(result.steps, mean, color="0.4", linestyle="--", linewidth=1, label="relabelled, mean")
    axis.plot(result.steps, pair.cosine, color="black", marker="o", markersize=3, label="measured")
    axis.set_title(f"{pair.first}, {pair.second}: same class on {100 * pair.same_label:.2f} % of pairs")
    axis.set_ylabel("cosine of the head weights")
    _frame(axis)


def _overlaps(axis: Axes, result: Result, pair: Pair, name: str) -> None:
    mean, low, high = pair.overlap_random[name].T
    _fill(axis, result, low, high, "random")
    axis.plot(result.steps, mean, color="0.5", linestyle="--", linewidth=1, label="random, mean")
    axis.plot(result.steps, pair.overlap[name], color="black", marker="o", markersize=3, label="measured")
    axis.set_title(f"{pair.first}, {pair.second}: {'row spaces' if name == 'rows' else 'subspaces of z that are read'}")
    axis.set_ylabel("overlap (mean $\\cos^2$)")
    axis.set_ylim(0, 1.02)
    _frame(axis)


def _fill(axis: Axes, result: Result, low: Array, high: Array, name: str) -> None:
    if np.isfinite(low).any():  # else there are too few draws for a band
        axis.fill_between(result.steps, low, high, color="0.75", zorder=1, label=f"{name}, 95 % of draws")


def _frame(axis: Axes) -> None:
    axis.set_xlabel("optimiser step")
    axis.legend(fontsize=7)


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the checkpoints, a forward pass over all pairs each."""
    return of_snapshots(runs, min(len(runs[0].snapshots()), settings.most or MOST), 0.55)


ANALYSIS = Analysis(
    "Do the tasks' heads read different directions, and is their cosine more than chance and shared labels?",
    "arXiv:2602.18523, near-orthogonal heads; null bands, relabelled heads, subspaces that are read: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
