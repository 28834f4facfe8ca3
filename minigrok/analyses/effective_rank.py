"""Effective rank: the matrices of the final network, of their change from the start, and random ones.

Effective ranks of each matrix (minigrok.geometry.compression; none depends on the norm), of
    theta     the final matrix W
    change    W_final - W_init, which the paper compresses
    random    Gaussian matrices of the same shape, `draws` of them: mean, and the lowest of the entropy rank, below
              which one more lies with chance 1 / (draws + 1)
in_proj_weight counts as W_Q, W_K and W_V. "norm": Frobenius norms, dimensionless; "cos": cos(change, -W_init), 1 if the
change is nothing but the loss of the initial values.
Protocol "paper" has no counterpart: the same in both, but for the final snapshot (minigrok.analyses.shared.curves).
Source: minigrok; formulas: Roy & Vetterli 2007, Rudelson & Vershynin 2007.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import Analysis, Cost, Draws, Row, Work, plain_row
from minigrok.analyses.shared.cost import of_snapshots
from minigrok.analyses.shared.curves import usable_steps
from minigrok.analyses.shared.trajectories import attention_matrices
from minigrok.engine import Array
from minigrok.geometry.compression import effective_rank
from minigrok.plotting import Figure, panel_grid
from minigrok.storage.runs import Run

MEASURES = ("entropy", "participation", "stable", "energy")


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of effective_rank.

    Attributes
    ----------
    protocol : str    "exact" or "paper"
    draws : int       random matrices of each shape (our choice: 20)
    """

    name = "effective_rank"
    draws: Draws = 20


@dataclass(frozen=True)
class Matrix:
    """One matrix (rows, columns); effective ranks in the order of MEASURES.

    Attributes
    ----------
    name : str
    rows, columns : int
    theta, change : (4,)
    random : (draws, 4)
    norm, norm_change, cosine : float
    """

    name: str
    rows: int
    columns: int
    theta: Array
    change: Array
    random: Array
    norm: float
    norm_change: float
    cosine: float


@dataclass(frozen=True)
class Result:
    """Matrices of one run."""

    run: str
    step: int
    matrices: list[Matrix]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the effective ranks of every matrix."""
    run, steps = runs[0], usable_steps(runs[0], settings.protocol)
    init, final = (run.load_snapshot(step).astype(np.float64) for step in (steps[0], steps[-1]))
    matrices = []
    for name, (place, shape) in places(run).items():
        rng = work.rng(f"effective_rank/{name}")
        random = np.array([effective_rank(rng.standard_normal(shape)) for _ in range(settings.draws)])
        matrices.append(_matrix(name, init[place].reshape(shape), final[place].reshape(shape), random))
    return Result(run.folder.name, steps[-1], matrices)


def _matrix(name: str, first: Array, last: Array, random: Array) -> Matrix:
    change = last - first
    size = float(np.linalg.norm(change) * np.linalg.norm(first))
    cosine = float(-np.vdot(change, first)) / size if size > 0 else float("nan")
    norms = (float(np.linalg.norm(last)), float(np.linalg.norm(change)))
    ranks = (np.array(effective_rank(last)), np.array(effective_rank(change)))
    rows, columns = last.shape
    return Matrix(name, rows, columns, *ranks, random, *norms, cosine)


def places(run: Run) -> dict[str, tuple[slice, tuple[int, int]]]:
    """Place and shape of each matrix; queries, keys and values apart."""
    D = run.config.model.width
    found = {name: (place, (D, D)) for name, place in attention_matrices(run).items()}
    for name, shape in run.layout.shapes.items():
        if len(shape) == 2 and "self_attn" not in name:
            short = name.removeprefix("encoder.layers.").removesuffix(".weight")
            found[f"L{short.replace('.', ' ')}" if short[0].isdigit() else short] = (
                run.layout.slices[name],
                (shape[0], shape[1]),
            )
    return found


def table(result: Result) -> list[Row]:
    """One row a matrix."""
    return [_row(result, each) for each in result.matrices]


def _row(result: Result, each: Matrix) -> Row:
    row: Row = {"run": result.run, "step": result.step, "matrix": each.name}
    row["shape"] = f"{each.rows} x {each.columns}"
    for i, measure in enumerate(MEASURES):
        row |= {f"{measure} theta": float(each.theta[i]), f"{measure} change": float(each.change[i])}
        row[f"{measure} random"] = float(each.random[:, i].mean())
    row |= {"entropy random low": float(each.random[:, 0].min()), "draws": len(each.random), "norm theta": each.norm}
    return plain_row(row | {"norm change": each.norm_change, "cos(change, -init)": each.cosine})


def figure(result: Result) -> Figure:
    """One panel a measure: each matrix, its change, and random ones of its shape."""
    drawn, axes = panel_grid(len(MEASURES), f"{result.run}: effective rank, step {result.step:,}", 2, (6.2, 3.4))
    x, names = np.arange(len(result.matrices)), [each.name for each in result.matrices]
    for i, (axis, measure) in enumerate(zip(axes, MEASURES, strict=True)):
        look: dict[str, Any] = {"color": "black", "markersize": 5}
        axis.plot(x, [each.theta[i] for each in result.matrices], "o", label="$\\theta$ itself", **look)
        change, words = [each.change[i] for each in result.matrices], "$\\theta - \\theta_0$"
        axis.plot(x, change, "s", markerfacecolor="white", label=words, **look)
        y = [each.random[:, i].mean() for each in result.matrices]
        axis.plot(x, y, "_", color="0.45", markersize=14, markeredgewidth=2, label="random, same shape")
        axis.set_xticks(x, names, rotation=60, ha="right", fontsize=8)
        axis.set_ylim(0)
        axis.set_title(measure if measure != "energy" else "rank with 90 % of the energy")
        axis.set_ylabel("effective rank")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Say what is read."""
    return of_snapshots(runs, 2, 0.9)


ANALYSIS = Analysis(
    "Are the matrices of the grokked network of low rank, and is their change from the start?",
    "arXiv:2602.18523 says full rank, of the change; of the weights themselves, and random matrices: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
