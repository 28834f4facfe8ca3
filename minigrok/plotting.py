"""Pictures: one style for all of them, frames of panels, and how a picture is saved.

No picture computes anything: numbers come as they are from a run folder, or from the result of an analysis.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes as Axes

from minigrok.display import printable
from minigrok.storage.files import tidy, write_atomically

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito 2008
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "minigrok",  # equal runs, equal files
}


@contextmanager
def defaults() -> Iterator[None]:
    """Within the block matplotlib has its own defaults, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        yield


@contextmanager
def style() -> Iterator[None]:
    """Within the block matplotlib has minigrok's style, on its own defaults."""
    with defaults():
        mpl.rcParams.update(STYLE)
        yield


def plain(name: str) -> str:
    """Return a name as the text of a picture: dollars begin no formula, and control characters are written out."""
    return printable(name).replace("$", r"\$")


def save(figure: mpl_figure.Figure, stem: Path, endings: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write a picture, as PNG and SVG unless told otherwise.

    Parameters
    ----------
    figure : Figure
    stem : Path                   path without the ending, such as runs/a/training
    endings : sequence of str     "png", "svg"

    Returns
    -------
    list of Path
        the files; equal numbers give equal bytes with one version of matplotlib

    Raises
    ------
    RunFolderError    no room or no permission
    """
    tidy(stem.parent)
    files = [stem.with_name(f"{stem.name}.{ending}") for ending in endings]
    for path, ending in zip(files, endings, strict=True):
        write_atomically(path, _bytes(figure, ending))
    return files


def _bytes(figure: mpl_figure.Figure, ending: str) -> bytes:
    """Return the picture as a PNG or SVG file, without dates and versions."""
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}}
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=ending, metadata=metadata[ending])
    return buffer.getvalue()


class Figure(mpl_figure.Figure):
    """Matplotlib's figure, which also shows itself in a notebook."""

    def _repr_png_(self) -> bytes:
        return _bytes(self, "png")


def panel_grid(
    count: int, title: str, columns: int = 3, size: tuple[float, float] = (4, 2.8)
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels in rows of `columns`, each `size` inches, and the list of panels.

    The title may hold names; a formula stays as it is written.
    """
    rows = -(-count // columns)
    columns = min(columns, count)
    with style():
        figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.5), layout="constrained")
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=13, fontweight="bold")
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
