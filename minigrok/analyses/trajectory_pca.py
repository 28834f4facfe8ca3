"""Trajectory PCA: is the motion low-dimensional, and more so than motion without structure.

Rows x_t = vec(W_t - W_0) over the snapshots; share of PC i = lambda_i / sum lambda of the total variance.
    centred        the paper's figMT_C/D/G;  PC1 of an unstructured random walk is 60.8 %
    uncentred      the paper's k* (1.11);    PC1 of a smooth decay towards 0 is near 100 % by itself
Nulls, `draws` each, at the same snapshots:
    random walk    steps of the measured lengths, isotropic directions
    decay walk     w_{t+1} = c w_t + noise of matched length, c = (1 - lr wd)^(steps): what weight decay does to w_0
Controls: |cos(PC1, W_0)|; the same shares after removing the exactly known decay component (1 - lr wd)^t W_0.
low, high: band of the draws (minigrok.statistics.intervals); "covers": the chance that one more draw lies inside.
Expanding windows: the shares of the first 3 .. S snapshots.
Protocol "paper": the attention log, and 100 checkpoints at most for the full vector; `windows` of them from
max(5, S / windows) snapshots on. The nulls and controls stay, which the paper lacks.
The share of the top 10 variances, as the paper's tri-task figures have it, is there too: it exceeds the share of the
total by construction. What never moved has no share, and neither has its null.
Source: arXiv:2602.18523 section on trajectories (code aa4e72f); nulls and controls: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import (
    MANY,
    Analysis,
    Cost,
    Draws,
    Protocol,
    Row,
    Work,
    attention_steps,
    checkpoint_steps,
    plain_row,
)
from minigrok.analyses.shared.cost import of_snapshots
from minigrok.analyses.shared.trajectories import WHOLE, load, pieces
from minigrok.checks import Between
from minigrok.engine import Array
from minigrok.geometry import nulls, subspace
from minigrok.plotting import Figure, panel_grid
from minigrok.statistics.intervals import band, coverage
from minigrok.storage.cadence import CHECKPOINTS, by_tasks
from minigrok.storage.runs import Run

TOP = 10  # the paper's tri-task normalisation
LEAST = 3  # snapshots: two have one direction, whatever moves


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of trajectory_pca.

    Attributes
    ----------
    protocol : str    "exact" or "paper"
    horizon : int     use snapshots up to this step, to compare runs at a common one; 0: all
    most : int        snapshots, evenly thinned; 0: 300 (our choice), or the paper's: all, 100 for the full vector
    windows : int     expanding windows; 0: 20 (paper), but 15 in the paper's three-task figures
    draws : int       of each null (our choice: 100)
    """

    name = "trajectory_pca"
    horizon: Annotated[int, Between(0, MANY)] = 0
    most: Annotated[int, Between(LEAST, MANY, or_zero=True)] = 0
    windows: Annotated[int, Between(0, MANY)] = 0
    draws: Draws = 100


@dataclass(frozen=True)
class Piece:
    """One weight matrix, or the full vector.

    Attributes
    ----------
    name : str
    size : int                         n
    centred, uncentred : (3,)          shares of PC 1 .. 3
    top10 : float                      centred PC1 over the top 10 variances (the paper's tri-task trap)
    participation : float              centred participation ratio; nan: nothing moved
    cos_start : float                  |cos(uncentred PC1, W_0)|; nan: nothing moved
    no_decay : (3,)                    centred shares with the decay component removed
    walk, decay : (draws, 2)           null draws of the centred and the uncentred PC1 share
    window_steps : (windows,)          last step of each expanding window
    window : (windows, 2)              its centred and its uncentred PC1 share
    window_top3 : (windows,)           its centred share of PC 1 .. 3
    spectrum : (10,)                   centred shares of PC 1 .. 10, or of as many as there are
    """

    name: str
    size: int
    centred: Array
    uncentred: Array
    top10: float
    participation: float
    cos_start: float
    no_decay: Array
    walk: Array
    decay: Array
    window_steps: Array
    window: Array
    window_top3: Array
    spectrum: Array


@dataclass(frozen=True)
class Result:
    """Pieces of one run; shares are dimensionless. `steps`: of the snapshots of the attention matrices."""

    run: str
    steps: Array
    pieces: list[Piece]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the PCA of every attention matrix and of the full vector."""
    run, found = runs[0], []
    places = pieces(run)
    for i, (name, place) in enumerate(places.items()):
        work.report(i, len(places), name)
        found.append(_piece(run, name, place, _steps(run, name, settings), settings, work))
    return Result(run.folder.name, _steps(run, next(iter(places)), settings), found)


def _steps(run: Run, name: str, settings: Settings) -> Array:
    """Return the steps of a piece's snapshots; the full vector is in the checkpoints alone."""
    log, paper = (checkpoint_steps, CHECKPOINTS) if name == WHOLE else (attention_steps, MANY)
    return np.array(log(run, settings.protocol, LEAST, settings.own(settings.most, 300, paper), settings.horizon))


def window_ends(snapshots: int, windows: int, protocol: Protocol) -> Array:
    """Return how many of the snapshots each expanding window has, (windows,) at most."""
    if protocol == "paper":
        first = min(max(5, snapshots // windows), snapshots)
        return np.unique(np.linspace(first, snapshots, min(windows, snapshots)).astype(int))
    return np.unique(np.linspace(LEAST, snapshots, min(windows, snapshots - 2)).astype(int))


def _piece(run: Run, name: str, place: slice, steps: Array, settings: Settings, work: Work) -> Piece:
    W = load(run, steps, place)  # (S, n)
    rate = run.config.optimiser.decay_rate
    start = W[0].astype(np.float64)
    free = subspace.pca(subspace.centred(subspace.gram(W, (1 - rate) ** steps)))
    walk, decay = _nulls(W, steps, rate, settings.draws, work.rng(f"pca/{name}"))
    W -= W[0].copy()  # from here on x_t
    G = subspace.gram(W)
    centred, uncentred = subspace.pca(subspace.centred(G)), subspace.pca(G)
    first = subspace.components(W, uncentred, 1, False)
    windows = settings.own(settings.windows, 20, by_tasks(run.config, 20, 15))
    ends = window_ends(len(steps), windows, settings.protocol)
    return Piece(
        name,
        W.shape[1],
        centred.shares[:3],
        uncentred.shares[:3],
        float(subspace.Pca(centred.variances[:TOP], centred.vectors).shares[0]),
        centred.participation_ratio,
        float(abs(first[:, 0] @ start) / np.linalg.norm(start)) if first.size else float("nan"),
        free.shares[:3],
        walk,
        decay,
        steps[ends - 1],
        np.array([_pc1(G[:e, :e]) for e in ends]),
        np.array([subspace.pca(subspace.centred(G[:e, :e])).shares[:3].sum() for e in ends]),
        centred.shares[:TOP],
    )


def _nulls(W: Array, steps: Array, rate: float, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return PC1 shares (draws, 2), centred and uncentred, of the random walk and of the decay walk."""
    n = W.shape[1]
    moves = np.array([np.linalg.norm(b.astype(float) - a) for a, b in pairwise(W)])
    keep = (1 - rate) ** np.diff(steps)
    noise = np.array([np.linalg.norm(b.astype(float) - c * a) for a, b, c in zip(W, W[1:], keep, strict=False)])
    size = float(np.linalg.norm(W[0].astype(float)))
    walk = [_pc1(nulls.random_walk(moves, n, rng)) for _ in range(draws)]
    decay = [_pc1(nulls.decay_walk(size, keep, noise, n, rng)) for _ in range(draws)]
    return np.array(walk), np.array(decay)


def _pc1(G: Array) -> tuple[float, float]:
    return subspace.pc1_share(subspace.centred(G)), subspace.pc1_share(G)


def table(result: Result) -> list[Row]:
    """One row a piece: shares in percent, nulls as mean and band of the draws."""
    return [_row(result.run, piece) for piece in result.pieces]


def _row(run: str, piece: Piece) -> Row:
    row: Row = {"run": run, "matrix": piece.name, "PC1 centred %": 100 * piece.centred[0]}
    row["top 3 centred %"] = 100 * piece.centred.sum()
    row["PC1 uncentred %"] = 100 * piece.uncentred[0]
    for name, draws in (("walk", piece.walk), ("decay", piece.decay)):
        low, high = band(100 * draws[:, 0])
        row[f"{name} null %"], row[f"{name} low"], row[f"{name} high"] = 100 * draws[:, 0].mean(), low, high
    row["uncentred walk %"], row["uncentred decay %"] = (100 * d[:, 1].mean() for d in (piece.walk, piece.decay))
    row["|cos(PC1, W_0)|"] = piece.cos_start
    row["PC1 without decay %"] = 100 * piece.no_decay[0]
    row["PC1 of top 10 %"] = 100 * piece.top10
    row["participation ratio"] = piece.participation
    row |= {"draws": len(piece.walk), "covers": coverage(len(piece.walk))}
    return plain_row(row)


def figure(result: Result) -> Figure:
    """Expanding-window PC1 share of each piece, centred (and top 3) and uncentred, both nulls at the full window."""
    drawn, axes = panel_grid(2 * len(result.pieces), f"{result.run}: PC1 share of the trajectory", columns=4)
    for i, piece in enumerate(result.pieces):
        for j, kind in enumerate(("centred", "uncentred")):
            axis = axes[2 * i + j]
            marker = "o" if len(piece.window_steps) == 1 else ""  # of one point a line shows nothing
            axis.plot(piece.window_steps, 100 * piece.window[:, j], color="black", marker=marker, label="measured")
            if j == 0:
                axis.plot(piece.window_steps, 100 * piece.window_top3, color="0.5", marker=marker, label="top 3")
                axis.plot(piece.window_steps[-1], 100 * piece.no_decay[0], "D", color="black", label="without decay")
            for draws, style, label in ((piece.walk, ":", "random walk"), (piece.decay, "--", "decay walk")):
                if np.isfinite(ends := band(100 * draws[:, j])).all():
                    axis.axhspan(*ends, color="0.85", zorder=0, label=f"{label}, 95 % of draws")
                axis.axhline(100 * draws[:, j].mean(), color="0.35", linestyle=style, label=label)
            axis.set_title(f"{piece.name}, {kind}")
            axis.set_ylim(0, 102)
            axis.set_xlabel("snapshots up to step")
            axis.locator_params(axis="x", nbins=4)
            axis.set_ylabel("PC1 share (% of variance)")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawn


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the snapshots; beyond 300 the nulls, an eigenvalue problem of as many rows, take more."""
    count = min(len(runs[0].snapshots()), settings.own(settings.most, 300))
    return of_snapshots(runs, count, 0.1 * max(1, (count / 300) ** 2))


ANALYSIS = Analysis(
    "Does the trajectory of the weights keep to fewer directions than motion without structure?",
    "arXiv:2602.18523, trajectories; null models and decay controls: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
