"""Compression: which parts of the final network can be taken away, counted from the initial weights and from zero.

theta' = reference + operation(theta_final - reference), minigrok.geometry.compression; accuracy on all test pairs.
Studies:
    svd              every matrix cut to rank r (paper; embeddings are matrices too)
    svd, linear      every matrix but the embeddings                 svd, attention   in_proj and out_proj only (paper)
    random rank      every matrix projected on r random directions: rank r without a choice
    prune            the x % largest entries are kept, of all parameters at once (paper)
    scale            x times theta_final - reference (paper)
    keep, remove     one module is kept or taken away: a layer, the heads, the rest (paper)
    noise            Gaussian noise, in every array x times the norm of theta_final - reference there
of "init": the paper's theta_final - theta_init, where what is taken away returns to its random initial value. of
"zero": the network itself. Beside each: noise of the same norm, array by array, on the final network.
Protocol "paper": from init alone, float32, no null, no random rank, the last snapshot on the grid.
Source: arXiv:2602.18523 (code aa4e72f), compression and snapshot decomposition; from zero, nulls: minigrok.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from minigrok.analyses.base import Analysis, Row, Work
from minigrok.analyses.shared.curves import Curve, Network, chosen, point_rows
from minigrok.analyses.shared.curves_figure import curves_figure
from minigrok.checks import require
from minigrok.engine import Array
from minigrok.geometry import compression as maths
from minigrok.plotting import Figure
from minigrok.storage.runs import Run

Changed = dict[float | str, Callable[[], Array]]
STUDIES = ("svd", "svd, linear", "svd, attention", "random rank", "prune", "scale", "keep", "remove", "noise")
CONTROLS = ("random rank", "noise")  # not in the paper
NAMES = {
    "svd": "",
    "svd, linear": r"^(encoder|heads)\.",
    "svd, attention": "self_attn",
    "random rank": "",
}  # which matrices


@dataclass(frozen=True)
class Settings:
    """Settings of compression.

    Attributes
    ----------
    protocol : str         "exact" or "paper"
    parts : list of str    studies; none: all
    ranks : list of int    (paper, figSNAP)
    keep : list of float   percent of the entries (paper, figSNAP)
    scales : list          factors (paper, figSNAP)
    noises : list          norm of the noise over that of theta_final - reference (our choice)
    repeats : int          draws of noise for each changed network (our choice: 2)
    """

    protocol: str = "exact"
    parts: tuple[str, ...] = ()
    ranks: tuple[int, ...] = (1, 2, 3, 5, 10, 20, 32, 64, 128)
    keep: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 80.0, 100.0)
    scales: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.5)
    noises: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    repeats: int = 2

    def __post_init__(self) -> None:
        chosen(self.parts, STUDIES, "compression")
        require(self.repeats >= 0, "repeats", "at least 0", self.repeats)


@dataclass(frozen=True)
class Result:
    """Curves of one run."""

    run: str
    step: int
    tasks: list[str]
    curves: list[Curve]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Score every changed network."""
    run, network = runs[0], Network(runs[0], settings.protocol)
    references = ("init",) if settings.protocol == "paper" else ("init", "zero")
    skipped = CONTROLS if settings.protocol == "paper" else ()
    jobs = [(s, r) for s in chosen(settings.parts, STUDIES, "compression") if s not in skipped for r in references]
    curves = []
    for i, (study, reference) in enumerate(jobs):
        work.report(i, len(jobs), f"{study} of {reference}")
        changed = _changed(network, study, reference, settings, work)
        repeats = 0 if settings.protocol == "paper" or study == "noise" else settings.repeats
        curves.append(network.curve(study, reference, changed, repeats, work))
    return Result(run.folder.name, network.steps[-1], list(run.config.task.operations), curves)


def _changed(network: Network, study: str, reference: str, settings: Settings, work: Work) -> Changed:
    """Return the functions that make the networks of a study, by x."""
    origin, layout = network.origin(reference), network.layout
    delta, rng = network.final - origin, work.rng(f"compression/{study}/{reference}")
    names, masks = maths.matrices(layout, NAMES.get(study, "")), maths.modules(layout)

    def noisy(x: float) -> Array:
        return delta + x * maths.noise_like(delta, layout, rng)

    def moved(make: Callable[[], Array]) -> Array:
        return origin + make()

    operations: dict[str, Changed] = {
        "prune": {x: partial(maths.pruned, delta, x / 100) for x in settings.keep},
        "scale": {x: partial(np.multiply, x, delta) for x in settings.scales},
        "keep": {name: partial(maths.kept, delta, mask) for name, mask in masks.items()},
        "remove": {name: partial(maths.kept, delta, ~mask) for name, mask in masks.items()},
        "noise": {x: partial(noisy, x) for x in settings.noises},
        "random rank": {r: partial(maths.random_truncated, delta, layout, r, names, rng) for r in settings.ranks},
    }
    cut: Changed = {r: partial(maths.truncated, delta, layout, r, names) for r in settings.ranks}
    return {x: partial(moved, make) for x, make in operations.get(study, cut).items()}


def table(result: Result) -> list[Row]:
    """One row a changed network."""
    return point_rows(result.run, result.step, result.tasks, result.curves)


def figure(result: Result) -> Figure:
    """One panel a study."""
    return curves_figure(f"{result.run}: step {result.step:,} with a part taken away", result.tasks, result.curves)


def cost(runs: Sequence[Run], settings: Settings) -> str:
    """Count the networks that are scored."""
    lists = (settings.ranks, settings.ranks, settings.ranks, settings.keep, settings.scales, np.zeros(8))
    points = sum(map(len, lists)) * (1 if settings.protocol == "paper" else 2 * (1 + settings.repeats))
    return f"about {points} evaluations of all pairs, a minute or two"


ANALYSIS = Analysis(
    "compression",
    "How much of the grokked network can be cut away, and is it the network or its initial noise that resists?",
    "arXiv:2602.18523, holographic incompressibility; the same on theta itself, noise of the same norm: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
