"""The commutator of two gradient steps, and what of it is rounding, normalisation or chance.

At each checkpoint, for each of K pairs of batches A, B (formulas: minigrok.geometry.brackets):
    exact       D of the bracket H_B g_A - H_A g_B, two Hessian products in float64
    float64     D of the finite difference at eta = 1e-3 in float64: differs from exact by O(eta)
    float32     the paper's procedure: finite difference, float32, 1e-12 in the denominator
    floor       the float32 procedure with H = 0: what rounding alone prints
    error       how far float32 is from float64 in units of D: where it is near D, the paper's number is rounding
and always |bracket|, |g_A|, |g_B| beside D, since D can grow while the bracket falls; cos(g_A, g_B); the share of the
bracket's energy in the attention weights.
Modes: the total loss on both sides; task i on A and task j on B; task i on both. The total is a sum, with the Hessian
of every task, so cross / total has no neutral value of 1: "/ total" of the same-task pairs is what to hold it against.
Shares of the bracket inside and outside of the execution manifold (minigrok.geometry.bases), built from the whole run
as in the paper and from the past alone, over what random bases of the same blocks hold. Not rho: sqrt(1 - K / P) is 1
to four digits for every vector.
eta sweep: exact does not depend on eta, float64 tends to it with slope 1, the float32 floor goes as 1 / eta^2.
Protocol "paper": total and cross-task, float32 only, median and 90th percentile of K = 9, rho of one more draw; the
exact zeros, where both steps are below the spacing of float32 numbers, are kept and shown as zeros.
Source: arXiv:2602.18523 (code aa4e72f), defect and integrability; exact bracket, floor, modes of one task: minigrok.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses import commutator_figure
from minigrok.analyses.base import Analysis, Row, Work, snapshot_steps
from minigrok.analyses.commutator_measure import ETAS, Measurement
from minigrok.analyses.shared.cost import duration, measured_seconds
from minigrok.analyses.shared.probes import Mode, modes
from minigrok.checks import at_least, check_types, require
from minigrok.engine import Array
from minigrok.geometry import brackets
from minigrok.storage.milestones import milestones
from minigrok.storage.runs import Run

CANNOT_FAIL = "rho is within 0.01 % of 1 for every vector that does not know the basis: it cannot fail"


@dataclass(frozen=True)
class Settings:
    """Settings of commutator.

    Attributes
    ----------
    protocol : str      "exact" or "paper"
    most : int          checkpoints, evenly thinned; 0: 100 under "paper" (the paper's), else 24 (our choice: cost)
    repeats : int       K, pairs of batches at each checkpoint; 0: 9 under "paper" (the paper's), 5 (our choice: cost)
    eta : float         step of the finite differences (paper: 1e-3)
    pairs : bool        also cross-task and, under "exact", same-task losses
    top : int           components of each attention matrix in the basis; 0: 2, or 3 for three tasks (paper)
    rows : int          snapshots that bases are built from, at most (paper: all; 300: our choice)
    draws : int         random bases, 100 at least (our choice)
    sweep : int         checkpoints of the eta sweep, "exact" only (our choice)
    """

    protocol: str = "exact"
    most: int = 0
    repeats: int = 0
    eta: float = brackets.ETA
    pairs: bool = True
    top: int = 0
    rows: int = 300
    draws: int = 200
    sweep: int = 4

    def __post_init__(self) -> None:
        check_types(self, "commutator")
        at_least(0, self, "commutator", "most", "repeats", "top", "sweep")
        at_least(1, self, "commutator", "rows")
        at_least(100, self, "commutator", "draws")  # a 95 % interval of fewer is decided by two draws
        require(self.eta > 0, "commutator.eta", "positive", self.eta)

    @property
    def checkpoints(self) -> int:
        """Checkpoints at most."""
        return self.most or (100 if self.protocol == "paper" else 24)

    @property
    def K(self) -> int:
        """Pairs of batches at each checkpoint."""
        return self.repeats or (9 if self.protocol == "paper" else 5)


@dataclass(frozen=True)
class Result:
    """Commutators of one run at N checkpoints, M modes, K repeats.

    Attributes
    ----------
    run, protocol : str
    steps : (N,)
    modes : list of str
    groks : dict                task -> grok step or None
    values : dict of (N, M, K)
        exact, float64, float32, floor, error: in units of D, which has none; bracket: nats^2; g_a, g_b: nats; cosine;
        attention: share of the bracket's energy; agreement: cosine between float32 difference and bracket;
        for the bases "run" and "past": NAME_share, NAME_chance, NAME_low, NAME_high, energies
        (protocol "paper": float32, floor, g_a, g_b, cosine)
    extra : dict of (N, M)      "paper", of the extra draw: rho, inside = |B^T delta| / |delta|, attention, ratios of
                                norms; inside_chance, inside_low, inside_high of random bases; error, as above
    sweep_steps : (W,)          checkpoints of the sweep
    sweep : dict of (W, E)      exact, float64, float32, floor; error: |difference / eta^2 - bracket| / |bracket|
    etas : (E,)
    rank, size : int            K of the basis "run", and P
    notes : list of str         what is missing, and how to read it
    """

    run: str
    protocol: str
    steps: Array
    modes: list[str]
    groks: dict[str, int | None]
    values: dict[str, Array]
    extra: dict[str, Array]
    sweep_steps: Array
    sweep: dict[str, Array]
    etas: Array
    rank: int
    size: int
    notes: list[str]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the commutators of a run at its checkpoints."""
    run = runs[0]
    steps = _steps(run, settings)
    measurement = Measurement(run, _modes(run, settings), settings, work)
    parts = work.parts([f"{step:06d}" for step in steps], lambda i: measurement.checkpoint(steps[i]))
    names = {name for part in parts for name in part}
    shape = np.full(len(measurement.modes), np.nan)
    stacked = {name: np.stack([part.get(name, shape) for part in parts]) for name in sorted(names)}
    at = _sweep_steps(steps, settings)
    swept = work.parts([f"sweep-{step:06d}" for step in at], lambda i: measurement.sweep(at[i]))
    notes = [CANNOT_FAIL] if measurement.is_paper else []
    if not measurement.whole.rank:
        notes.append("no shares: the basis needs two snapshots that differ")
    return Result(
        run.folder.name,
        settings.protocol,
        np.array(steps),
        [mode.name for mode in measurement.modes],
        {task: reached.grokked_at for task, reached in milestones(run.config, run.metrics()).items()},
        {name: values for name, values in stacked.items() if not name.startswith("extra_")},
        {name.removeprefix("extra_"): values for name, values in stacked.items() if name.startswith("extra_")},
        np.array(at),
        {name: np.stack([part[name] for part in swept]) for name in (swept[0] if swept else ())},
        np.array(ETAS),
        measurement.whole.rank,
        run.layout.size,
        notes,
    )


def _steps(run: Run, settings: Settings) -> list[int]:
    return snapshot_steps(run, 1, settings.checkpoints)


def _modes(run: Run, settings: Settings) -> list[Mode]:
    found = modes(run.config.task.operations, same=settings.protocol != "paper")
    return found if settings.pairs else found[:1]


def _sweep_steps(steps: list[int], settings: Settings) -> list[int]:
    """Evenly spaced checkpoints of the eta sweep; none under the paper's protocol."""
    count = 0 if settings.protocol == "paper" else min(settings.sweep, len(steps))
    return [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, count).astype(int))]


def table(result: Result) -> list[Row]:
    """One row a checkpoint and mode: medians over the repeats, quartiles of the defect."""
    row = _paper_row if result.protocol == "paper" else _exact_row
    return [row(result, n, m) for m in range(len(result.modes)) for n in range(len(result.steps))]


def _exact_row(result: Result, n: int, m: int) -> Row:
    v = {name: values[n, m] for name, values in result.values.items()}
    middle = {name: float(np.median(values)) for name, values in v.items()}
    row: Row = {"mode": result.modes[m], "step": int(result.steps[n]), "D exact": middle["exact"]}
    row["q1"], row["q3"] = (float(q) for q in np.quantile(v["exact"], [0.25, 0.75]))
    total = float(np.median(result.values["exact"][n, 0]))
    row["/ total"] = middle["exact"] / total if total > 0 else float("nan")
    row |= {
        "D float64": middle["float64"],
        "D float32": middle["float32"],
        "error": middle["error"],
        "floor": middle["floor"],
    }
    row |= {"|bracket|": middle["bracket"], "|g_A|": middle["g_a"], "|g_B|": middle["g_b"]}
    row |= {
        "cos(A, B)": middle["cosine"],
        "attention %": 100 * middle["attention"],
        "cos(32, exact)": middle["agreement"],
    }
    for name in ("run", "past"):
        share, chance = v[f"{name}_share"], v[f"{name}_chance"]
        row[f"{name}: inside/chance"] = float(np.median(share / chance))
    row["chance 2.5 %"], row["97.5 %"] = (float(np.median(v[f"run_{e}"] / v["run_chance"])) for e in ("low", "high"))
    row["outside/chance"] = float(np.median((1 - v["run_share"]) / (1 - v["run_chance"])))
    return row


def _paper_row(result: Result, n: int, m: int) -> Row:
    v = {name: values[n, m] for name, values in result.values.items()}
    extra = {name: float(values[n, m]) for name, values in result.extra.items()}
    row: Row = {"mode": result.modes[m], "step": int(result.steps[n]), "D median": float(np.median(v["float32"]))}
    row |= {"D p90": float(np.quantile(v["float32"], 0.9)), "zeros": int(np.sum(v["float32"] == 0))}
    row |= {"error": extra["error"], "floor": float(np.median(v["floor"])), "|g_A|": float(np.median(v["g_a"]))}
    row |= {"cos(A, B)": float(np.mean(v["cosine"])), "rho": extra["rho"]}
    row["rho, random basis"] = float(np.sqrt(1 - extra.get("inside_chance", np.nan) ** 2))
    row |= {"inside": extra.get("inside", np.nan), "inside, random": extra.get("inside_chance", np.nan)}
    return row


def cost(runs: Sequence[Run], settings: Settings) -> str:
    """Count the products and time one of each."""
    run, seconds = runs[0], measured_seconds(runs[0])
    steps, M = _steps(run, settings), len(_modes(run, settings))
    if settings.protocol == "paper":
        single, double = 4 * len(steps) * M * (settings.K + 1), 4 * len(steps) * M
        total = single * seconds.grad32 + double * seconds.grad64
        return f"{single:,} gradients in float32, {double:,} in float64: {duration(total)}"
    points, swept = len(steps) * M * settings.K, len(_sweep_steps(steps, settings))
    single, double, products = 4 * points + 20 * swept, 4 * points + 12 * swept, 2 * (points + swept)
    total = single * seconds.grad32 + double * seconds.grad64 + products * seconds.hvp64
    words = f"{single:,} gradients in float32, {double:,} in float64, {products:,} Hessian products"
    return f"{words}: {duration(total)}"


ANALYSIS = Analysis(
    "commutator",
    "Does the order of two gradient steps matter more and more as the network comes to generalise?",
    "arXiv:2602.18523, commutator defect; exact bracket, rounding floor, block-matched chance: minigrok",
    Settings,
    compute,
    table,
    commutator_figure.figure,
    cost,
)
