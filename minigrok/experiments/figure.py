"""The picture of a sweep: a row a run, how far it is, and when each task grokked."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from minigrok.experiments.cells import STATES, Cell, State
from minigrok.plotting import COLOURS, MARKERS, Figure, style
from minigrok.training.figure import GREY

LINES: dict[State, tuple[str, Any]] = {  # colour and style of the line up to the present step
    "done": ("#000000", "-"),
    "running": ("#0072B2", (0, (5, 1))),
    "half done": (GREY, (0, (2, 1.5))),
    "failed": ("#D55E00", ":"),
    "not begun": (GREY, ""),
}


def figure(cells: Sequence[Cell]) -> Figure:
    """Where every run stands: a line to its present step, its budget, the grok step of each task."""
    tasks = list(dict.fromkeys(task for cell in cells for task in cell.config.task.operations))
    with style():
        picture = Figure(figsize=(11, max(2.6, 1.8 + 0.3 * len(cells))), layout="constrained")
        axis = picture.subplots()
        for row, cell in enumerate(cells):
            _row(axis, row, cell, tasks)
        axis.set_yticks(range(len(cells)), [f"{cell.config.name}\u2002{cell.state}" for cell in cells])
        axis.set_ylim(len(cells) - 0.4, -0.6)
        axis.set_xscale("log")
        axis.set_xlim(left=min(cell.config.train.eval_every for cell in cells))
        axis.set_xlabel("optimiser step (logarithmic)")
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(axis="y", visible=False)
        picture.suptitle(_title(cells), x=0.01, ha="left", fontsize=13, fontweight="bold")
        handles = _legend(cells, tasks)
        picture.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    return picture


def _row(axis: Axes, row: int, cell: Cell, tasks: Sequence[str]) -> None:
    budget = cell.config.train.max_steps
    axis.plot([1, budget], [row, row], color="#cccccc", linewidth=0.8, zorder=1)
    axis.plot(budget, row, marker="|", color=GREY, markersize=11, zorder=2)
    colour, style = LINES[cell.state]
    if style:
        axis.plot([1, max(cell.step, 1)], [row, row], color=colour, linestyle=style, linewidth=3, zorder=3)
    for task, step in (cell.grokked or {}).items():
        if step is not None:
            k = tasks.index(task)
            look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
            axis.plot(step, row, linestyle="", markersize=8, markeredgecolor="white", zorder=4, **look)


def _title(cells: Sequence[Cell]) -> str:
    counts = {state: sum(cell.state == state for cell in cells) for state in STATES}
    return f"{len(cells)} runs: " + ", ".join(f"{n} {state}" for state, n in counts.items() if n)


def _legend(cells: Sequence[Cell], tasks: Sequence[str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)], linestyle="", label=label)
        for k, label in enumerate(f"{task} grokked" for task in tasks)
    ]
    present = {cell.state for cell in cells}
    for state in STATES:
        colour, style = LINES[state]
        if style and state in present:
            handles.append(Line2D([], [], color=colour, linestyle=style, linewidth=3, label=state))
    return [*handles, Line2D([], [], color=GREY, marker="|", markersize=11, linestyle="", label="budget")]
