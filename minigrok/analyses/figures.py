"""Shared frames of the analyses' figures, in the style of minigrok.plotting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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


def legend_of_all(figure: Figure, axes: Iterable[Axes]) -> None:
    """Put one legend below the panels: every label of any of them once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=9, handlelength=3.5)
