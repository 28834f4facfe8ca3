"""Picture of orbits: accuracy of both groups along training, a panel a task, and of the changed networks, all tasks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minigrok.analyses.orbits.result import Line, Result
from minigrok.analyses.orbits.table import interval, reached
from minigrok.analyses.shared.curves_figure import DIRECTIONS, X_AXES
from minigrok.plotting import COLOURS, MARKERS, Figure, legend_of_all, panel_grid

STYLES: dict[str, dict[str, Any]] = {
    "partner": {"linestyle": "-"},
    "alone": {"linestyle": "--", "markerfacecolor": "white"},
}
WORDS = {"partner": "with a partner in train", "alone": "without one"}


def figure(result: Result) -> Figure:
    """Return a figure with a panel a task of the training, and one a kind of change."""
    panels: list[tuple[Line, list[str]]] = []
    for line in result.lines:
        panels += [(line, [task]) for task in result.tasks] if line.part == "training" else [(line, result.tasks)]
    title = f"{result.run}: test pairs whose answer a symmetry gives away, and the others"
    drawn, axes = panel_grid(len(panels), title, columns=4, size=(4.1, 3.1))
    for axis, (line, tasks) in zip(axes, panels, strict=True):
        for task in tasks:
            _draw(axis, result, line, task)
        _frame(axis, result, line, tasks)
    legend_of_all(drawn, axes)
    return drawn


def _draw(axis: Axes, result: Result, line: Line, task: str) -> None:
    """Draw both groups of a task, with intervals along training, and the lookup table of all its test pairs."""
    k = result.tasks.index(task)
    look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
    for name, style in STYLES.items():
        if (g := result.column(task, name)) is None:
            continue
        label = f"{task}, test pairs {WORDS[name]}"
        axis.plot(line.x, 100 * line.test[:, g], markersize=3.5, linewidth=1.2, label=label, **look, **style)
        if line.part == "training":
            low, high = interval(line.test[:, g], result.groups[g].orbits)
            axis.fill_between(line.x, 100 * low, 100 * high, color=look["color"], alpha=0.2, linewidth=0)
    lookup = line.lookup[:, result.column(task, "all")]
    label = f"{task}, lookup table with the symmetries"
    axis.plot(line.x, 100 * lookup, color=look["color"], linewidth=1.1, linestyle=":", label=label)


def _frame(axis: Axes, result: Result, line: Line, tasks: Sequence[str]) -> None:
    axis.axhline(100 * result.chance, color="0.6", linewidth=0.8, label="chance, 1/p")
    if np.isfinite(line.noise).any():
        worst = np.min([line.noise[:, result.column(task, "all")] for task in tasks], axis=0)
        label = "noise of the same norm, worst task, all test pairs"
        axis.plot(line.x, 100 * worst, "+", color="0.3", linestyle=":", linewidth=1, markersize=4, label=label)
    crossings = "\n".join(_crossings(result, line, task) for task in tasks)
    head = f"training, {tasks[0]}" if line.part == "training" else f"{line.part}: {line.of}"
    axis.set_title(f"{head}\n{crossings}", fontsize=9)
    axis.set_ylim(-3, 103)
    axis.set_ylabel("test accuracy (%)")
    _abscissa(axis, result, line, tasks)


def _abscissa(axis: Axes, result: Result, line: Line, tasks: Sequence[str]) -> None:
    if line.part == "training":
        axis.set_xlabel("optimiser step")
        if np.isfinite(step := result.memorised[tasks[0]]):
            axis.axvline(step, color="0.2", linewidth=0.8, linestyle="-.", label="memorised")
        return
    x_axis = X_AXES.get(line.of.partition(", of ")[0], DIRECTIONS)
    axis.set_xlabel(x_axis.label)
    if x_axis.is_log:
        axis.set_xscale("log")


def _crossings(result: Result, line: Line, task: str) -> str:
    """Say where each group reaches .90, and along training how many pairs it has."""
    there = {name: g for name in STYLES if (g := result.column(task, name)) is not None}
    points = {name: reached(line, g) for name, g in there.items()}
    words = [f"{name} {f'{line.x[i]:,.0f}' if i is not None else 'never'}" for name, i in points.items()]
    counts = f"\nn = {', '.join(f'{result.groups[g].n:,}' for g in there.values())}"
    return f"{task}, .90 at: {', '.join(words)}{counts * (line.part == 'training')}"
