"""Compression: which parts of the final network can be taken away, counted from the initial weights and from zero.

theta' = reference + operation(theta_final - reference), minigrok.geometry.compression; accuracy on all test pairs.
Studies:
    svd              every matrix cut to rank r (paper; embeddings are matrices too)
    svd, all         the same of every array, one with a single axis as a column, which has rank 1: the same network
                     again, and figSNAP's second curve (paper)
    svd, linear      every matrix but the embeddings                 svd, attention   in_proj and out_proj only (paper)
    random rank      every matrix projected on r random directions: rank r without a choice
    prune            the x % largest entries are kept, of all parameters at once (paper)
    scale            x times theta_final - reference (paper)
    keep, remove     one module is kept or taken away: a layer, the heads, the rest (paper); their parts: attention, its
                     queries and keys, MLP, norms, embeddings, each head (minigrok)
    noise            Gaussian noise, in every array x times the norm of theta_final - reference there
of "init": the paper's theta_final - theta_init, where what is taken away returns to its random initial value. of
"zero": the network itself. Beside each: noise of the same norm, array by array, on the final network; beside a module
only where it is changed.
Protocol "paper": from init alone, float32, no null, no random rank, the last checkpoint.
A defect of the original that is not reproduced: the SVD curve of figCOMP is that of rank 1 at every rank. He keeps the
final state by reference, and loading the first result overwrites it. Here each rank is cut from the final network.
Source: arXiv:2602.18523 (code aa4e72f), compression and snapshot decomposition; from zero, nulls: minigrok.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Analysis, Cost, Row, Work
from minigrok.analyses.shared.cost import scored
from minigrok.analyses.shared.curves import Curve, Network, chosen, point_rows
from minigrok.analyses.shared.curves_figure import curves_figure
from minigrok.checks import Between
from minigrok.engine import Array
from minigrok.geometry import compression as maths
from minigrok.network.params import Layout
from minigrok.plotting import Figure
from minigrok.storage.runs import Run

STUDIES = (
    "svd",
    "svd, all",
    "svd, linear",
    "svd, attention",
    "random rank",
    "prune",
    "scale",
    "keep",
    "remove",
    "noise",
)
CONTROLS = ("svd, linear", "random rank", "noise")  # not in the paper
TWICE = ("svd, all",)  # not in the exact protocol
MATRICES = {"svd, linear": r"^(encoder|heads)\.", "svd, attention": "self_attn"}  # that are cut; elsewhere: all
SCALES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.5)


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of compression.

    Attributes
    ----------
    protocol : str            "exact" or "paper"
    parts : list of str       studies; none: all of the protocol
    ranks : list of int       kept of each matrix (paper, figSNAP)
    keep : list of float      percent of the entries (paper, figSNAP)
    scales : list of float    factors (paper, figSNAP)
    noises : list of float    norm of the noise over that of theta_final - reference (our choice)
    repeats : int             draws of noise for each changed network (our choice: 2)
    """

    name = "compression"
    parts: tuple[str, ...] = ()
    ranks: tuple[Annotated[int, Between(0, MANY)], ...] = (1, 2, 3, 5, 10, 20, 32, 64, 128)
    keep: tuple[Annotated[float, Between(0, 100)], ...] = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 80.0, 100.0)
    scales: tuple[Annotated[float, Between(-1_000, 1_000)], ...] = SCALES
    noises: tuple[Annotated[float, Between(0, 1_000)], ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    repeats: Annotated[int, Between(0, 10_000)] = 2

    def __post_init__(self) -> None:
        """Check that the protocol has every part, too."""
        super().__post_init__()
        self.chosen_parts()

    def chosen_parts(self) -> list[str]:
        """Return the parts that are asked for, or all that the protocol has; a ConfigError names one that it lacks."""
        known = [name for name in STUDIES if name not in (CONTROLS if self.protocol == "paper" else TWICE)]
        return chosen(self.parts, known, self.name, self.protocol)


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
    curves = curves_of(network, settings, work)
    return Result(run.folder.name, network.steps[-1], network.names, curves)


def curves_of(network: Network, settings: Settings, work: Work) -> list[Curve]:
    """Return the curves of every study that is asked for."""
    references, repeats = (("init",), 0) if settings.protocol == "paper" else (("init", "zero"), settings.repeats)
    jobs = [(study, reference) for study in settings.chosen_parts() for reference in references]
    curves = []
    for i, (study, reference) in enumerate(jobs):
        work.report(i, len(jobs), f"{study} of {reference}")
        changed = _changed(network, study, reference, settings, work)
        draws, is_inside = 0 if study == "noise" else repeats, study in ("keep", "remove")
        curves.append(network.curve(study, reference, changed, draws, work, is_inside))
    return curves


def _changed(
    network: Network, study: str, reference: str, settings: Settings, work: Work
) -> dict[float | str, Callable[[], Array]]:
    """Return the functions that make the networks of a study, by x."""
    origin, layout = network.origin(reference), network.layout
    delta, rng = network.final - origin, work.rng(f"compression/{study}/{reference}")
    names = maths.matrices(layout, MATRICES.get(study, ""), 0 if study in TWICE else maths.LEAST)
    masks = _modules(layout, settings)
    operations: dict[str, tuple[Iterable[float | str], Callable[[Any], Array]]] = {
        "random rank": (settings.ranks, lambda rank: maths.random_truncated(delta, layout, rank, names, rng)),
        "prune": (settings.keep, lambda percent: maths.pruned(delta, percent / 100)),
        "scale": (settings.scales, lambda factor: factor * delta),
        "keep": (masks, lambda name: maths.kept(delta, masks[name])),
        "remove": (masks, lambda name: maths.kept(delta, ~masks[name])),
        "noise": (settings.noises, lambda size: delta + size * maths.noise_like(delta, layout, rng)),
    }
    factors = cache(lambda: maths.factors(delta, layout, names))  # once for all ranks, and only if one is still to do
    cut = (settings.ranks, lambda rank: maths.truncated(delta, layout, rank, factors()))
    xs, operation = operations.get(study, cut)
    return {x: partial(lambda x: origin + operation(x), x) for x in xs}


def _modules(layout: Layout, settings: Settings) -> dict[str, Array]:
    return maths.modules(layout) if settings.protocol == "paper" else maths.finer_modules(layout)


def table(result: Result) -> list[Row]:
    """One row a changed network."""
    return point_rows(result.run, result.step, result.tasks, result.curves)


def figure(result: Result) -> Figure:
    """One panel a study."""
    return curves_figure(f"{result.run}: step {result.step:,} with a part taken away", result.tasks, result.curves)


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the networks that are scored; noise alone on test pairs alone."""
    modules = 2 * len(_modules(runs[0].layout, settings))
    networks = 3 * len(settings.ranks) + len(settings.keep) + len(settings.scales) + modules
    references, repeats = (1, 0) if settings.protocol == "paper" else (2, settings.repeats)
    return scored(runs[0], references * networks * (1 + repeats / 2))


ANALYSIS = Analysis(
    "How much of the grokked network can be cut away, and is it the network or its initial noise that resists?",
    "arXiv:2602.18523, holographic incompressibility; the same on theta itself, noise of the same norm: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
