"""Picture of curves of changed networks: one panel a study, accuracy against how much is changed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from minigrok.analyses.shared.curves import Curve
from minigrok.plotting import COLOURS, MARKERS, Figure, legend_of_all, panel_grid


class XAxis(NamedTuple):
    """What x of a study means."""

    label: str
    is_log: bool = True
    is_count: bool = False


RANK = XAxis("rank kept of each matrix")
X_AXES = {
    "svd": RANK,
    "svd, linear": RANK,
    "svd, attention": RANK,
    "random rank": RANK,
    "prune": XAxis("largest entries kept (%)"),
    "scale": XAxis("factor", is_log=False),
    "noise": XAxis("norm of the noise / norm of what it is added to"),
}
DIRECTIONS = XAxis("number of directions k", is_log=False, is_count=True)  # of all other studies
LINES: Mapping[str, Any] = {"zero": "--", "init": "-"}  # others: solid
WORDS = {"init": "of $\\theta - \\theta_0$", "zero": "of $\\theta$ itself"}


def curves_figure(title: str, tasks: Sequence[str], curves: Sequence[Curve], notes: Mapping[str, str] = {}) -> Figure:
    """Return a figure with a panel for each study.

    Parameters
    ----------
    title : str
    tasks : sequence of str
    curves : sequence of Curve      those of one study share a panel, one line style a reference
    notes : mapping                 study to a sentence below its title
    """
    studies = list(dict.fromkeys(curve.study for curve in curves))
    drawn, axes = panel_grid(len(studies), title, size=(4.6, 3.3))
    for axis, study in zip(axes, studies, strict=True):
        draw_study(axis, [curve for curve in curves if curve.study == study], tasks, notes.get(study, ""))
    legend_of_all(drawn, axes)
    return drawn


def draw_study(axis: Axes, curves: Sequence[Curve], tasks: Sequence[str], note: str = "") -> None:
    """Draw the curves of one study, one line style a reference, and its frame."""
    for curve in curves:
        _draw(axis, curve, tasks)
    _frame(axis, curves[0], note)


def _draw(axis: Axes, curve: Curve, tasks: Sequence[str]) -> None:
    """Draw each task's test accuracy, and that of the worst one with noise of the same norm."""
    x = _places(curve)
    style, words = LINES.get(curve.reference, "-"), WORDS.get(curve.reference, curve.reference)
    for k, task in enumerate(tasks):
        look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        look |= {"markersize": 4, "linewidth": 1.3, "markerfacecolor": "white" if style == "--" else None}
        axis.plot(x, 100 * curve.test[:, k], linestyle=style, label=f"{task}, {words}", **look)
    if np.isfinite(curve.noise_worst).any():
        grey, dots = ("0.45", ":") if style == "--" else ("0.15", (0, (1, 2)))
        label = f"noise of the same norm, {words}, worst task"
        mark: dict[str, Any] = {"marker": "x" if style == "--" else "+", "markersize": 4}
        axis.plot(x, 100 * curve.noise_worst, color=grey, linestyle=dots, linewidth=1, label=label, **mark)


def _places(curve: Curve) -> Any:
    """Return x, or the numbers of its names."""
    return curve.x if curve.x.dtype.kind in "if" else np.arange(len(curve.x))


def _frame(axis: Axes, curve: Curve, note: str) -> None:
    axis.set_title(curve.study + (f"\n{note}" if note else ""), fontsize=10)
    if curve.x.dtype.kind not in "if":
        turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if len(curve.x) > 4 else {}
        axis.set_xticks(np.arange(len(curve.x)), curve.x.tolist(), fontsize=8, **turned)
        for line in axis.get_lines():
            line.set_linestyle("none")
    else:
        x_axis = X_AXES.get(curve.study, DIRECTIONS)
        axis.set_xlabel(x_axis.label)
        if x_axis.is_count:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if x_axis.is_log and (curve.x > 0).any():
            axis.set_xscale("log")
    axis.set_ylim(-3, 103)
    axis.set_ylabel("test accuracy (%)")
