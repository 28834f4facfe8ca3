"""Drive: what moves the weights along a direction, AdamW's adaptive part or weight decay.

A step is theta_s = k theta_{s-1} + u_s with k = 1 - lr wd, so two snapshots t and t + n give, exactly and without the
moments or the steps between them,
    move        m = theta_{t+n} - theta_t = a + d
    decay       d = -(1 - k^n) theta_t                          what decay alone does to the weights of t
    adaptive    a = theta_{t+n} - k^n theta_t = sum_j k^(n-j) u_{t+j}   the updates, as they are at its end
The decay of what was added within the interval counts with a: at most a share 1 - k^n of each update (9.5 % for 100
steps at lr wd = .001). In a run with an intervention a holds what it adds. Clipping is in u.
Directions B_t (orthonormal columns within each block):
    PC1          first centred component of the whole trajectory, all parameters     knows the future
    execution    top 2 (3 for three tasks) of each attention matrix, K = 16 on dual  knows the future
    updates      top 2 of the Gram matrix of the `window` updates of the attention weights before the interval
    theta        theta_t itself, on which all of d lies
Over the T intervals of a stage, with x_B = B_t^T x:
    decay share    sum <d_B, m_B> / sum |m_B|^2         the share of a is 1 minus it; either may be negative
    net share      <sum d_B, sum m_B> / |sum m_B|^2     of the way from the first to the last snapshot; fixed B alone
    cos(a, d)      sum <a_B, d_B> / sqrt(sum |a_B|^2 sum |d_B|^2)     -1: they cancel
    held           sum |x_B|^2 / sum |x|^2 of x = a, d and m, an energy; chance: the same of random directions
A share near 1/2 says that both drive alike, one far above 1 that decay moves and the adaptive part resists.
Null, `draws` of it: as many Gaussian directions in the same matrices, fixed along the run (orthonormal up to 1/sqrt n).
All shares are linear algebra of the path's Gram matrix, so no direction is ever drawn (minigrok.geometry.nulls).
Stages: up to the step at which every task is memorised (train accuracy > .99), from there on, and the whole run.
Protocol "paper" has no counterpart: the same, of the paper's checkpoints.
Source: decoupled decay: Loshchilov & Hutter 2019, algorithm 2; the decomposition and its null: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Analysis, Cost, Draws, Row, Work, checkpoint_steps, plain_row
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import of_snapshots
from minigrok.analyses.shared.trajectories import attention_matrices, load, top_components
from minigrok.checks import Between
from minigrok.config.arms import ARMS
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.geometry import subspace
from minigrok.geometry.drives import Parts, held, moving_parts, parts, random_parts, shares
from minigrok.plotting import COLOURS, Axes, Figure, legend_of_all, panel_grid
from minigrok.statistics.intervals import band, coverage
from minigrok.storage.runs import Run

MEMORISING, MEMORISED, WHOLE = "to memorised", "from memorised", "whole"
TOP = 2  # directions of a window of updates: S_1 and S_2 of the paper's g23


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of drive.

    Attributes
    ----------
    protocol : str    "exact" or "paper"
    most : int        snapshots, evenly thinned (our choice: 300)
    window : int      updates before an interval that span `updates` (paper's Gram window: 10)
    draws : int       random directions (our choice: 200)
    """

    name = "drive"
    most: Annotated[int, Between(3, MANY)] = 300
    window: Annotated[int, Between(2, MANY)] = 10
    draws: Draws = 200


@dataclass(frozen=True)
class Stage:
    """One set of directions over one stage; `_random`: the draws.

    Attributes
    ----------
    directions, stage : str
    first, last : int            steps
    count : int                  directions K
    shares : (3,)                decay share, net share, cos(a, d)
    shares_random : (draws, 3)
    held : (3,)                  energy of a, d and m in the directions
    held_random : (draws, 3)
    """

    directions: str
    stage: str
    first: int
    last: int
    count: int
    shares: Array
    shares_random: Array
    held: Array
    held_random: Array


@dataclass(frozen=True)
class Result:
    """One run; `sizes`: (T, 3) by directions, |a_B|, |d_B| and |m_B| of each interval between `steps` (T + 1,)."""

    run: str
    decay_rate: float
    steps: Array
    memorised: int | None
    sizes: dict[str, Array]
    stages: list[Stage]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the shares of decay along every set of directions, stage by stage.

    Raises
    ------
    RunFolderError
        Fewer than three snapshots, or the run's intervention changes the decay itself.
    """
    run = runs[0]
    _require_plain_decay(run)
    steps = np.array(checkpoint_steps(run, settings.protocol, 3, settings.most))
    rate = run.config.optimiser.decay_rate
    keep = (1 - rate) ** np.diff(steps)
    W = load(run, steps, slice(0, run.layout.size))
    whole = _along_itself(W, keep)
    columns = events.evaluations(run)
    reached = [events.memorised(columns, task) for task in run.config.task.operations]
    memorised = None if None in reached else max(step for step in reached if step is not None)
    sizes, found = {}, []
    for i, (name, (measured, is_fixed, blocks)) in enumerate(_directions(run, W, keep, settings.window).items()):
        work.report(i, 4, name)
        sizes[name] = np.stack([np.linalg.norm(x, axis=1) for x in (*measured, measured.move)], axis=1)
        null = random_parts(blocks, keep, settings.draws, work.rng(f"drive/{name}"))
        there = np.isfinite(measured.decay).all(axis=1)
        for stage, rows in _stages(steps, memorised).items():
            if (kept := np.flatnonzero(there & rows)).size:
                found.append(_stage(name, stage, steps, kept, measured, is_fixed, whole, null))
    return Result(run.folder.name, rate, steps, memorised, sizes, found)


def _require_plain_decay(run: Run) -> None:
    arm = run.config.intervention.arm
    if arm in ARMS and ARMS[arm].target == "decay":
        required = f"a run whose decay is that of its config in {run.folder}"
        raise RunFolderError(required, f"the intervention {arm}, which changes it", "take a run without it")


def _along_itself(W: Array, keep: Array) -> Parts:
    """Parts with the norms of the whole moves: along two axes, of which a and d have what their Gram matrix says."""
    both: list[list[Array]] = [[], []]
    for x, y, k in zip(W, W[1:], keep, strict=False):
        a, d = y.astype(np.float64) - k * x, (k - 1) * x.astype(np.float64)
        size = float(np.linalg.norm(d))
        along = float(a @ d) / size if size > 0 else 0.0
        both[0].append(np.array([along, np.sqrt(max(float(a @ a) - along**2, 0.0))]))
        both[1].append(np.array([size, 0.0]))
    return Parts(np.array(both[0]), np.array(both[1]))


Block = tuple[
    Array, int
]  # Gram matrix (T + 1, T + 1) of the path in some coordinates over their number, and directions


def _directions(run: Run, W: Array, keep: Array, window: int) -> dict[str, tuple[Parts, bool, list[Block]]]:
    """Parts along each set of directions, whether these stay the same, and what draws of random ones take."""
    places, k = list(attention_matrices(run).values()), top_components(run)
    grams = [subspace.gram(W[:, place]) for place in places]
    n_attention, full = sum(place.stop - place.start for place in places), subspace.gram(W)
    pc1, of_all = _coordinates(W, full, 1), full / W.shape[1]
    paths = np.hstack([_coordinates(W[:, place], G, k) for place, G in zip(places, grams, strict=True)])
    blocks = [(G / (place.stop - place.start), k) for place, G in zip(places, grams, strict=True)]
    G = np.sum(grams, axis=0)
    theta = moving_parts(full, keep, [[row] for row in np.eye(len(W))[:-1]])
    return {
        "PC1": (parts(pc1, keep), True, [(of_all, 1)]),
        "execution": (parts(paths, keep), True, blocks),
        "updates": (moving_parts(G, keep, _recent(G, window)), False, [(G / n_attention, TOP)]),
        "theta": (theta, False, [(of_all, 1)]),
    }


def _coordinates(W: Array, G: Array, k: int) -> Array:
    """Path (T + 1, k) along the first k centred components of W (T + 1, n), whose Gram matrix is G."""
    B = subspace.components(W, subspace.pca(subspace.centred(G)), k, True)
    return np.array([w.astype(np.float64) @ B for w in W])


def _recent(G: Array, window: int) -> list[list[Array]]:
    """Top directions of the updates before each interval, as combinations (T + 1,) of the snapshots; none: too few."""
    moves = np.diff(np.eye(len(G)), axis=0)
    found: list[list[Array]] = []
    for t in range(len(moves)):
        U = moves[max(t - window, 0) : t]
        if len(U) < window:
            found.append([])
            continue
        spectrum = subspace.pca(U @ G @ U.T)
        found.append([spectrum.vectors[:, j] @ U for j in range(TOP)])
    return found


def _stages(steps: Array, memorised: int | None) -> dict[str, Array]:
    """Which intervals (T,) belong to each stage; an interval belongs where it begins."""
    is_early = steps[:-1] < (np.inf if memorised is None else memorised)
    return {MEMORISING: is_early, MEMORISED: ~is_early, WHOLE: np.ones_like(is_early)}


def _stage(
    name: str, stage: str, steps: Array, kept: Array, measured: Parts, is_fixed: bool, whole: Parts, null: list[Parts]
) -> Stage:
    own, of_all = _cut(measured, kept), _cut(whole, kept)
    drawn = [_cut(each, kept) for each in null]
    return Stage(
        name,
        stage,
        int(steps[kept[0]]),
        int(steps[kept[-1] + 1]),
        measured.decay.shape[1],
        np.array(shares(own, is_fixed)),
        np.array([shares(each, is_fixed) for each in drawn]),
        held(own, of_all),
        np.array([held(each, of_all) for each in drawn]),
    )


def _cut(found: Parts, rows: Array) -> Parts:
    return Parts(found.adaptive[rows], found.decay[rows])


def table(result: Result) -> list[Row]:
    """One row a set of directions and stage; shares of decay with the band of random directions."""
    return [_row(result, each) for each in result.stages]


def _row(result: Result, each: Stage) -> Row:
    row: Row = {"run": result.run, "directions": each.directions, "K": each.count, "stage": each.stage}
    row |= {"from": each.first, "to": each.last}
    for i, name in enumerate(("decay share", "net share", "cos(a, d)")):
        low, high = band(each.shares_random[:, i])
        row |= {name: each.shares[i], f"{name} random": float(np.median(each.shares_random[:, i]))}
        row |= {f"{name} low": low, f"{name} high": high}
        if i == 1 and np.isnan(each.shares[i]):  # directions that turn
            row |= dict.fromkeys((f"{name} random", f"{name} low", f"{name} high"))
    for i, name in enumerate(("a", "d", "m")):
        row |= {f"held of {name} %": 100 * each.held[i], f"{name} random %": 100 * float(each.held_random[:, i].mean())}
    return plain_row(row | {"draws": len(each.shares_random), "covers": coverage(len(each.shares_random))})


def figure(result: Result) -> Figure:
    """Sizes of both parts and of the move along each set of directions; below, the share of decay stage by stage."""
    title = f"{result.run}: what moves the weights, adaptive part or decay"
    drawn, axes = panel_grid(2 * len(result.sizes), title, len(result.sizes), (4.2, 3.2))
    for i, (name, sizes) in enumerate(result.sizes.items()):
        _draw_sizes(axes[i], result, name, sizes)
        _draw_shares(axes[len(result.sizes) + i], [each for each in result.stages if each.directions == name])
    legend_of_all(drawn, axes)
    return drawn


def _draw_sizes(axis: Axes, result: Result, name: str, sizes: Array) -> None:
    looks = (("adaptive part $a$", "-"), ("decay $d$", "--"), ("move $m = a + d$", ":"))
    for values, (label, dash), colour in zip(sizes.T, looks, COLOURS, strict=False):
        axis.plot(result.steps[1:], values, dash, color=colour, label=label, linewidth=1.3)
    if result.memorised is not None:
        axis.axvline(result.memorised, color="0.5", linewidth=1, label="every task memorised")
    if (sizes > 0).any():
        axis.set_yscale("log", nonpositive="mask")
    axis.set_title(name)
    axis.set_xlabel("optimiser step")
    axis.locator_params(axis="x", nbins=4)
    axis.set_ylabel("size along the directions")


def _draw_shares(axis: Axes, stages: list[Stage]) -> None:
    for i, each in enumerate(stages):
        low, high = band(each.shares_random[:, 0])
        middle = float(np.median(each.shares_random[:, 0]))
        if np.isfinite([low, high]).all():
            axis.plot([i, i], [low, high], color="0.75", linewidth=9, label="random directions, 95 % of draws")
        axis.plot(i, middle, "_", color="0.3", markersize=16, label="random directions, median")
        axis.plot(i, each.shares[0], "o", color="black", label="share of decay in the move")
        if np.isfinite(each.shares[1]):
            axis.plot(i, each.shares[1], "D", color="black", markerfacecolor="white", label="of the net way")
    axis.axhline(0, color="0.4", linewidth=0.8)
    axis.axhline(1, color="0.4", linewidth=0.8, linestyle=":")
    axis.set_xticks(range(len(stages)), [each.stage for each in stages], rotation=20)
    axis.set_xlim(-0.5, len(stages) - 0.5)
    axis.set_ylabel("share of decay, 1: all")


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the snapshots; nothing is replayed."""
    return of_snapshots(runs, min(len(runs[0].snapshots()), settings.most), 0.05)


ANALYSIS = Analysis(
    "Does weight decay or the gradient move the weights along the directions of the trajectory?",
    "decoupled decay: Loshchilov & Hutter 2019; exact parts of a move, shares and random directions: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
