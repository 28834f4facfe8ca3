"""The picture of growth: time and memory of a training step against every size."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from minigrok.bench.settings import OWN
from minigrok.plotting import COLOURS, MARKERS, Figure, style


def growth_figure(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Time (top) and peak memory (bottom) against each size; an axis of one point is not drawn.

    Parameters
    ----------
    points : sequence of dict    as `growth` returns them
    """
    labels = list(dict.fromkeys(point["axis"] for point in points))
    groups = {label: [point for point in points if point["axis"] == label] for label in labels}
    groups = {label: group for label, group in groups.items() if len(group) > 1}
    with style():
        figure = Figure(figsize=(3.2 * max(len(groups), 1), 6.4), layout="constrained")
        grid = figure.subplots(2, max(len(groups), 1), squeeze=False, sharey="row")
        for column, (label, group) in zip(grid.T, groups.items(), strict=False):
            _lines(column[0], group, "median_ms", 1.0)
            _lines(column[1], group, "peak_bytes", 1e-6)
            column[1].set_xlabel(label)
        grid[0, 0].set_ylabel("training step (ms)")
        grid[1, 0].set_ylabel("peak memory of the process (MB)")
        lines, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper left", ncols=max(len(names), 1))
    return figure


def _lines(axis: Axes, group: Sequence[Mapping[str, Any]], quantity: str, scale: float) -> None:
    """One line a contender, both axes logarithmic, a tick at each value."""
    contenders = [row["contender"] for row in group[0]["rows"]]
    for k, name in enumerate(contenders):
        rows = [(point["value"], row) for point in group for row in point["rows"] if row["contender"] == name]
        seen = [(value, scale * row[quantity], row["label"]) for value, row in rows if quantity in row]
        if seen:
            x, y, labels = zip(*seen, strict=True)
            look: Any = {"color": COLOURS[k], "marker": MARKERS[k], "linestyle": "-" if name == OWN else "--"}
            axis.plot(x, y, label=labels[0], **look)
    axis.set_xscale("log")
    axis.set_yscale("log")
    values = [point["value"] for point in group]
    axis.set_xticks(values, [str(value) for value in values])
    axis.xaxis.set_minor_locator(NullLocator())
