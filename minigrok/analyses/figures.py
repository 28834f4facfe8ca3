"""Shared frames of the analyses' figures, in the style of minigrok.plotting."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minigrok.plotting import STYLE


def panel_grid(
    count: int, title: str, columns: int = 3, size: tuple[float, float] = (4, 2.8)
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels in rows of `columns`, each `size` inches, and the list of panels."""
    rows = -(-count // columns)
    columns = min(columns, count)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.5), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]
