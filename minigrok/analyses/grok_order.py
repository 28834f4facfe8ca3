"""Which task gets there first: the step of each accuracy, task by task, over runs.

    mark   memorised (train accuracy > .99); first evaluation with test accuracy >= .5, .9, .95, .98, .99;
           0.98 x 3 = the third evaluation in a row >= .98, the paper's grok step
    gap    step of task A minus step of task B, per run; in evaluations: rows of the table between the two
    alone  the same marks of test accuracy on pairs without a partner (minigrok.orbits), where the table has them
A seed is one observation, whatever its number of tasks: of several runs of one condition and seed the first one counts.
A run where only one task of a pair got there counts for that task and has no gap. Gaps of one evaluation are below the
resolution of the measurement.
Null: each task is first with chance 1/2. The two-sided sign test leaves out runs that reached the mark at the same
evaluation; "p resolved" leaves out gaps of one evaluation too: its null is that each task is first in half of the leads
that are longer. n seeds cannot give p below 2^(1-n): with the paper's three no order can be shown, p >= 0.25. Seven
marks are seven looks: 0.98 x 3 is the one that the claim is about.
Source: arXiv:2602.18523, claim of a staggered order (0.98 x 3, three seeds); marks, counts and test: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import Analysis, Cost, Row, Work
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import START, host
from minigrok.analyses.shared.units import one_a_seed, units
from minigrok.engine import Array
from minigrok.plotting import COLOURS, MARKERS, Axes, Figure, panel_grid
from minigrok.statistics.exchange import SIGNIFICANT
from minigrok.statistics.small_samples import sign_test
from minigrok.storage.runs import Run

LEVELS = (0.5, 0.9, 0.95, 0.98, 0.99)
MARKS = ("memorised", *(f"{level:.2f}" for level in LEVELS), events.STREAK)


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of grok_order.

    Attributes
    ----------
    protocol : str    "exact": every mark; "paper": the grok step alone
    """

    name = "grok_order"


@dataclass(frozen=True)
class Times:
    """Marks of one run.

    Attributes
    ----------
    run, condition : str
    seed, last_step : int
    tasks : list of str
    steps : (marks, tasks) float     optimiser steps; nan: not reached
    rows : (marks, tasks) float      the same in rows of the table of evaluations
    alone, lag : (marks, tasks) float    steps of test pairs without a partner, nan: not reached, or not in the table;
                                     and how much later all test pairs are there than those
    """

    run: str
    condition: str
    seed: int
    last_step: int
    tasks: list[str]
    steps: Array
    rows: Array
    alone: Array
    lag: Array


@dataclass(frozen=True)
class Pair:
    """Two tasks at one mark, over the runs of a condition.

    Attributes
    ----------
    condition, mark, first, second : str
    gaps : (runs,) float          steps of `first` minus steps of `second`; +-inf: only one got there; nan: none did
    evaluations : (runs,) float   the same in evaluations
    """

    condition: str
    mark: str
    first: str
    second: str
    gaps: Array
    evaluations: Array


@dataclass(frozen=True)
class Result:
    """Marks of every run, every pair of tasks at every mark, and why other runs are left out."""

    marks: list[str]
    runs: list[Times]
    pairs: list[Pair]
    left_out: dict[str, str]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return when each task reached each mark, and who was first."""
    marks = list(MARKS if settings.protocol == "exact" else MARKS[-1:])
    kept, left_out = one_a_seed(dict(zip(events.labels(runs), runs, strict=True)))
    conditions = [unit.condition for unit in units([*kept.values()])]
    times = [_times(run, name, of, marks) for (name, run), of in zip(kept.items(), conditions, strict=True)]
    pairs = []
    for group in dict.fromkeys(each.condition for each in times):
        members = [each for each in times if each.condition == group]
        for a, b in combinations(range(len(members[0].tasks)), 2):
            pairs += [_pair(members, mark, i, a, b) for i, mark in enumerate(marks)]
    return Result(marks, times, pairs, left_out)


def _times(run: Run, name: str, condition: str, marks: list[str]) -> Times:
    columns, tasks = events.evaluations(run), list(run.config.task.operations)
    steps = _steps(columns, tasks, marks)
    alone = _steps(columns, [f"alone_{task}" for task in tasks], marks)
    rows = np.where(np.isnan(steps), np.nan, np.searchsorted(columns["step"], np.nan_to_num(steps)))
    last = int(columns["step"][-1])
    return Times(name, condition, run.config.seed, last, tasks, steps, rows, alone, steps - alone)


def _steps(columns: dict[str, Array], names: list[str], marks: list[str]) -> Array:
    """Return the step of each mark (marks, names) float; nan where it is not reached, or has no column."""
    found = [[_mark(columns, name, mark) for name in names] for mark in marks]
    return np.array([[np.nan if step is None else step for step in line] for line in found], np.float64)


def _mark(columns: dict[str, Array], task: str, mark: str) -> int | None:
    column = f"{'train' if mark == 'memorised' else 'test'}_accuracy_{task}"
    if column not in columns:
        return None
    if mark == "memorised":
        return events.memorised(columns, task)
    if mark == events.STREAK:
        return events.reached(columns, task, *events.GROKS[mark])
    return events.reached(columns, task, float(mark))


def _pair(members: list[Times], mark: str, i: int, a: int, b: int) -> Pair:
    gaps = np.array([_gap(each.steps[i, a], each.steps[i, b]) for each in members])
    evaluations = np.array([_gap(each.rows[i, a], each.rows[i, b]) for each in members])
    return Pair(members[0].condition, mark, members[0].tasks[a], members[0].tasks[b], gaps, evaluations)


def _gap(a: float, b: float) -> float:
    """a - b, where nan is later than everything; nan if both are."""
    if np.isnan(a) or np.isnan(b):
        return float("nan") if np.isnan(a) and np.isnan(b) else float(np.inf if np.isnan(a) else -np.inf)
    return a - b


def table(result: Result) -> list[Row]:
    """One row a condition, pair of tasks and mark, and one a run that is left out."""
    rows = [_row(pair) for pair in result.pairs] or [
        {"condition": each.condition, "mark": "", "says": "one task: no order"} for each in result.runs[:1]
    ]
    empty: Row = dict.fromkeys(rows[0])
    out = [{"condition": name, "mark": "left out", "says": why} for name, why in result.left_out.items()]
    return rows + [empty | row for row in out]


def _row(pair: Pair) -> Row:
    n = int((~np.isnan(pair.gaps)).sum())
    both = pair.gaps[np.isfinite(pair.gaps)]
    near = np.abs(pair.evaluations) <= 1
    counts = [int((pair.gaps < 0).sum()), int((pair.gaps > 0).sum())]
    far = [int(((pair.gaps < 0) & ~near).sum()), int(((pair.gaps > 0) & ~near).sum())]
    return {
        "condition": pair.condition,
        "mark": pair.mark,
        "A - B": f"{pair.first} - {pair.second}",
        "runs": len(pair.gaps),
        "reached": n,
        "A first": counts[0],
        "B first": counts[1],
        "same": int((pair.gaps == 0).sum()),
        "within 1": float(near.sum() / len(both)) if len(both) else None,
        "gap": float(np.median(both)) if len(both) else None,
        "least": float(both.min()) if len(both) else None,
        "most": float(both.max()) if len(both) else None,
        "p": sign_test(*counts) if n else None,
        "p resolved": sign_test(*far) if n else None,
        "says": verdict(pair.first, pair.second, *counts),
    }


def verdict(first: str, second: str, n_first: int, n_second: int) -> str:
    """Say what the counts allow to say about the order, and no more."""
    n = n_first + n_second
    if n == 0:
        return "no run tells the two apart"
    if (smallest := sign_test(n, 0)) > SIGNIFICANT:
        return f"{n} untied cannot show an order: p >= {smallest:.2g}"
    if sign_test(n_first, n_second) > SIGNIFICANT:
        return f"no order shown by {n} untied"
    return f"{first if n_first > n_second else second} first, {n} untied"


def figure(result: Result) -> Figure:
    """Steps of each mark, run by run, and gaps against the resolution of one evaluation."""
    groups = list(dict.fromkeys(each.condition for each in result.runs))
    pairs = {(pair.condition, pair.first, pair.second) for pair in result.pairs}
    title = "Which task is first, at seven marks" if len(result.marks) > 1 else "Which task groks first"
    drawn, axes = panel_grid(len(groups) + len(pairs), title, columns=2, size=(5.5, 3.6))
    panels = iter(axes)
    for group in groups:
        _draw_steps(next(panels), group, [each for each in result.runs if each.condition == group], result.marks)
        for _, a, b in sorted(key for key in pairs if key[0] == group):
            chosen = [p for p in result.pairs if (p.condition, p.first, p.second) == (group, a, b)]
            _draw_gaps(next(panels), chosen)
    return drawn


def _draw_steps(axis: Axes, group: str, members: list[Times], marks: list[str]) -> None:
    for each in members:
        for k, task in enumerate(each.tasks):
            look: dict[str, Any] = {"color": COLOURS[k], "marker": MARKERS[k], "linestyle": ("-", "--", ":")[k % 3]}
            axis.plot(range(len(marks)), each.steps[:, k], linewidth=1, label=task, **look)
    if all(np.isnan(each.steps).all() for each in members):
        axis.text(0.5, 0.5, "no run has reached a mark", ha="center", transform=axis.transAxes)
        axis.set_yticks([])
    _categories(axis, marks)
    axis.set_title(group)
    axis.set_ylabel("optimiser step")
    handles, names = axis.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    axis.legend(unique.values(), unique.keys(), fontsize=9, title=f"{len(members)} run{'s' * (len(members) > 1)}")


def _draw_gaps(axis: Axes, pairs: list[Pair]) -> None:
    for i, pair in enumerate(pairs):
        finite = np.sort(pair.gaps[np.isfinite(pair.gaps)])
        spread = i + np.linspace(-0.25, 0.25, len(finite) + 2)[1:-1]
        axis.plot(spread, finite, "o", color="black", markerfacecolor="white", markersize=6)
    unit = _evaluation(pairs)
    if unit:
        axis.axhspan(-unit, unit, color="0.85", zorder=0, label="one evaluation: below resolution")
        widest = max(np.abs(p.gaps[np.isfinite(p.gaps)]).max(initial=0) for p in pairs)
        if widest > 10 * unit:
            axis.set_yscale("symlog", linthresh=unit)
        axis.legend(fontsize=9)
    axis.axhline(0, color="0.4", linewidth=1)
    _categories(axis, [pair.mark for pair in pairs])
    axis.set_title(f"{pairs[0].first} minus {pairs[0].second}, one circle a run")
    axis.set_ylabel(f"gap (steps), below 0: {pairs[0].first} first")


def _evaluation(pairs: list[Pair]) -> float:
    """Widest gap in steps that is one evaluation; 0 if every gap is 0."""
    each = [(g, e) for p in pairs for g, e in zip(p.gaps, p.evaluations, strict=True) if np.isfinite(g) and e]
    return max((abs(gap / evaluations) for gap, evaluations in each), default=0.0)


def _categories(axis: Axes, marks: list[str]) -> None:
    axis.set_xticks(range(len(marks)), marks, rotation=30)
    axis.set_xlim(-0.5, len(marks) - 0.5)
    axis.set_xlabel("train accuracy > .99, then test accuracy reached")


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the runs."""
    return Cost(host(START), f"tables of evaluations of {len(runs)} run{'s' * (len(runs) > 1)}")


ANALYSIS = Analysis(
    "Do the tasks generalise in an order, and is it more than chance and the spacing of evaluations?",
    "arXiv:2602.18523, staggered grokking; thresholds, ties and sign test: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
