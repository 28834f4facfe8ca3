"""Five ways to draw an entry of the registry: curves, points, a heat map, a scatter, a portrait.

What is measured has a colour and a marker, so that a grey print tells lines apart, and its name stands at its end where
there are few. What is null is grey, and its name is in the legend. No drawing computes more than a mean over seeds.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from minigrok.engine import Array
from minigrok.paper.lines import NULL, Line
from minigrok.paper.plan import Panel, Plan, categories, setting
from minigrok.plotting import COLOURS, MARKERS, Figure, panel_grid, plain

STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
NULL_STYLES: tuple[Any, ...] = (":", "--", "-.")
DIRECT = 6  # names at most that stand at the ends of their lines: our choice
CELLS = 200  # of a heat map, with numbers in them, at most: our choice
MAP = "cividis"  # ascends in grey, too, and is seen alike with colour blindness


def figure(plan: Plan) -> Figure:
    """Return the picture of a plan."""
    draw = SHAPES[plan.entry.draw]
    size = (5.6, 3.9) if len(plan.panels) == 1 else (4.6, 3.2)
    columns = 2 if len(plan.panels) in (2, 4) or "quantity" in plan.entry.panel.split()[1:] else 3
    kind = "Figure" if plan.entry.number[0].isdigit() else "Picture"
    drawn, axes = panel_grid(len(plan.panels), f"{kind} {plan.entry.number}. {plan.entry.says}", columns, size)
    drawn._suptitle.set_fontsize(11)  # type: ignore[attr-defined]
    drawn._suptitle.set_wrap(True)  # type: ignore[attr-defined]
    for axis, panel in zip(axes, plan.panels, strict=True):
        draw(axis, panel, plan)
        if panel.title:
            axis.set_title(plain(panel.title), fontsize=9)
        axis.tick_params(labelsize=8)
    width = int(17 * drawn.get_figwidth())
    lines = "\n".join(textwrap.wrap(plan.caption, width))
    drawn.supxlabel(plain(lines), x=0.01, ha="left", fontsize=7.5, color="0.25")
    return drawn


def curves(axis: Axes, panel: Panel, plan: Plan) -> None:
    """Draw each line against x, the marks of a single run, nulls behind."""
    measured = [line for line in panel.lines if line.role != NULL]
    keys = _keys(measured)
    order, ends = list(dict.fromkeys(keys)), {}
    names = list(dict.fromkeys(_name(line, measured) for line in measured))
    quantities = list(dict.fromkeys(line.quantity.name for line in measured))
    words = categories([line.x for line in panel.lines])
    for i, line in enumerate(line for line in panel.lines if line.role == NULL):
        _null(axis, line, i, words)
    for line, key in zip(measured, keys, strict=True):
        k, x = order.index(key), _places(line.x, words)
        name = _name(line, measured)
        second = names.index(name) if key != name and len(order) > 1 else 0
        style = STYLES[(second + quantities.index(line.quantity.name)) % len(STYLES)]
        look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        every = 1 if len(x) <= 30 else max(len(x) // 7, 1)
        look |= {"markersize": 4, "markevery": (k % every, every), "linewidth": 1.5 if len(measured) < 8 else 1}
        y = np.where(line.y > 0, line.y, np.nan) if line.is_log else line.y
        axis.plot(x, y, linestyle="none" if words else style, **look)
        if line.low.size:
            axis.vlines(x, line.low, line.high, color=look["color"], linewidth=0.8)
        shown = y[np.isfinite(y)]
        if shown.size and key and key not in ends:
            ends[key] = (float(shown[-1]), look)
    _frame(axis, panel, words)
    if len(quantities) > 1:
        dashed = plan.quantities[quantities[1]].label.removesuffix(" (%)")
        axis.plot([], [], color="0.3", linestyle=STYLES[1], label=f"dashed: {dashed}")
    runs = {line.member.run.folder for line in measured}
    if len(runs) == 1 and panel.lines and panel.lines[0].quantity.x_label == "optimiser step":
        _marks(axis, plan.marks.get(measured[0].member.label, []))
    _names(axis, ends)


def points(axis: Axes, panel: Panel, plan: Plan) -> None:
    """Draw one number of a run against a setting: each run, the mean of its condition, what was not reached."""
    x_of = {line.member.condition: setting(line.member, plan.entry.x) for line in panel.lines}
    places = {value: i for i, value in enumerate(sorted(set(x_of.values()), key=lambda v: (isinstance(v, str), v)))}
    measured = [line for line in panel.lines if line.role != NULL]
    keys = [", ".join(filter(None, (line.name, plan.arm(line)))) for line in measured]
    order, ends = list(dict.fromkeys(keys)), {}
    for i, line in enumerate(line for line in panel.lines if line.role == NULL):
        look: dict[str, Any] = {"color": "0.5", "markerfacecolor": "white", "linestyle": "none", "markersize": 5}
        at = np.full(line.y.size, places[x_of[line.member.condition]] + 0.14)
        axis.plot(at, line.y, marker=MARKERS[-1 - i % 2], label=line.says, **look)
    missed, zeros = [], []
    for k, key in enumerate(order):
        own = [line for line, name in zip(measured, keys, strict=True) if name == key]
        shift = 0.0 if len(order) == 1 else 0.24 * (k / (len(order) - 1) - 0.5)
        look = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        at = np.array([places[x_of[line.member.condition]] + shift for line in own])
        y = np.array([float(line.y[0]) if line.y.size == 1 else np.nan for line in own])
        axis.plot(at, y, linestyle="none", markersize=4.5, alpha=0.75, **look)
        mean = {x: np.nanmean(y[at == x]) for x in sorted(set(at)) if np.isfinite(y[at == x]).any()}
        axis.plot([*mean], [*mean.values()], color=look["color"], linewidth=1.3)
        if mean:
            ends[key] = (float([*mean.values()][-1]), look)
        missed += [(x, look) for x in at[~np.isfinite(y)]]
        zeros += [(x, look) for x in at[y == 0] if own[0].is_log]
    axis.set_xticks(range(len(places)), [_words(value, plan.entry.x) for value in places], fontsize=8)
    axis.set_xlim(-0.5, len(places) - 0.5)
    axis.set_xlabel({"optimiser.weight_decay": "weight decay", "intervention.dose": "dose"}.get(plan.entry.x, ""))
    _frame(axis, panel, None, is_x=False)
    for found, height, marker, words in ((missed, 0.985, "x", "not reached"), (zeros, 0.015, "v", "exactly 0")):
        for x, look in found:
            more: dict[str, Any] = {"transform": axis.get_xaxis_transform(), "markersize": 7}
            axis.plot(x, height, marker=marker, color=look["color"], **more)
        if found:
            axis.plot([], [], marker, color="0.3", label=words)
    _names(axis, ends)


def heat(axis: Axes, panel: Panel, plan: Plan) -> None:
    """Draw numbers as cells: matrices by layer and kind, or conditions by x."""
    cells: dict[tuple[str, str], list[float]] = {}
    for line in panel.lines:
        if line.x is None:
            row, _, column = line.label.partition(" ")
            cells.setdefault((row, column), []).append(float(line.y[0]))
        else:
            for x, y in zip(line.x, line.y, strict=True):
                cells.setdefault((line.member.condition, f"{x:g}"), []).append(float(y))
    rows, columns = (list(dict.fromkeys(key[i] for key in cells)) for i in (0, 1))
    values = np.array([[np.mean(cells.get((row, column), [np.nan])) for column in columns] for row in rows])
    image = axis.imshow(values, aspect="auto", cmap=MAP, vmin=0, vmax=100)
    axis.grid(visible=False)
    axis.set_xticks(range(len(columns)), columns, fontsize=7)
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    if values.size <= CELLS:
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if value < 55 else "black"
                size = 6 if len(columns) > 8 else 9
                axis.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=size, color=colour)
    line = panel.lines[0]
    if line.x is not None:
        axis.set_xlabel(line.quantity.x_label)
    axis.figure.colorbar(image, ax=axis, label=line.axis, shrink=0.9)


def scatter(axis: Axes, panel: Panel, plan: Plan) -> None:
    """Draw one event of a run against another, the line where both are at once, and what else comes before."""
    order: dict[str, int] = {}
    largest, lost = 1.0, 0
    for (_, condition), (xs, ys) in plan.pairs(panel).items():
        for x in xs:
            for y in ys:
                if not np.isfinite([x.y[0], y.y[0]]).all():
                    lost += 1
                    continue
                largest = max(largest, float(x.y[0]), float(y.y[0]))
                if x.role == NULL:
                    look: dict[str, Any] = {"color": "0.55", "marker": MARKERS[-1 - (x.says == "memorised")]}
                    look |= {"markerfacecolor": "white", "markersize": 5, "label": x.says}
                    axis.plot(x.y, y.y, linestyle="none", zorder=1, **look)
                    continue
                key = ", ".join(filter(None, (condition, y.name)))
                k = order.setdefault(key, len(order))
                look = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "label": key}
                axis.plot(x.y, y.y, linestyle="none", markersize=6, **look)
    axis.plot([0, largest], [0, largest], color="0.3", linewidth=0.9, linestyle="--", label="both at once")
    first, second = (plan.quantities[name].label for name in plan.entry.shows[0])
    axis.set_xlabel(f"{first} (step)", fontsize=9)
    axis.set_ylabel(f"{second} (step)" if "step" not in second else second, fontsize=9)
    _thousands(axis.xaxis, axis.yaxis)
    if lost:
        axis.set_title(f"{lost} without one of the two events: not drawn", fontsize=8)
    _legend(axis)


def portrait(axis: Axes, panel: Panel, plan: Plan) -> None:
    """Draw one series against another along training, coloured by step or accuracy, grok steps marked."""
    for k, (name, (xs, ys)) in enumerate(plan.pairs(panel).items()):
        for x, y in zip(xs, ys, strict=False):
            assert x.x is not None
            if panel.colour:
                axis.plot(x.y, y.y, color="0.7", linewidth=0.8, zorder=1)
                shade = x.x if panel.colour == "step" else plan.interpolated(x, panel.colour)
                drawn = axis.scatter(x.y, y.y, c=shade, cmap=MAP, s=10, zorder=2)
                label = "optimiser step" if panel.colour == "step" else f"mean {panel.colour} (%)"
                axis.figure.colorbar(drawn, ax=axis, label=label, shrink=0.9)
            else:
                axis.plot(x.y, y.y, color=COLOURS[k], linestyle=STYLES[k], linewidth=1.4, label=name[0].split(", ")[-1])
            _places_of_marks(axis, x, y, plan.marks.get(x.member.label, []))
            axis.plot(x.y[0], y.y[0], marker="s", color="black", markersize=5)
            axis.annotate("start", (x.y[0], y.y[0]), fontsize=7, xytext=(4, -9), textcoords="offset points")
            axis.set_xlabel(x.axis, fontsize=8.5)
            axis.set_ylabel(y.axis, fontsize=8.5)
    _legend(axis)


SHAPES: Mapping[str, Callable[[Axes, Panel, Plan], None]] = {
    "curves": curves,
    "points": points,
    "heat": heat,
    "scatter": scatter,
    "portrait": portrait,
}


def _keys(lines: Sequence[Line]) -> list[str]:
    """Return what tells the lines of a panel apart first: the condition, or else the name."""
    several = len({line.member.condition for line in lines}) > 1
    return [line.member.condition if several else _name(line, lines) for line in lines]


def _name(line: Line, lines: Sequence[Line]) -> str:
    """Return a line's name; its label is left out where all have it."""
    return line.part if line.part and len({each.label for each in lines}) == 1 else line.name


def _null(axis: Axes, line: Line, i: int, words: Sequence[str] | None) -> None:
    if line.x is None:
        axis.axhline(float(line.y[0]), color="0.55", linewidth=1, linestyle=":", label=line.says, zorder=1)
        return
    x = _places(line.x, words)
    if line.low.size:
        axis.fill_between(x, line.low, line.high, color="0.85", label=line.says, zorder=0, linewidth=0)
    else:
        y = np.where(line.y > 0, line.y, np.nan) if line.is_log else line.y
        look: dict[str, Any] = {"color": "0.55", "linewidth": 1.1, "zorder": 1}
        look |= {"marker": "+", "linestyle": "none"} if words else {"linestyle": NULL_STYLES[i % len(NULL_STYLES)]}
        axis.plot(x, y, label=", ".join(filter(None, (line.says, line.part))), **look)


def _places(x: Array | None, words: Sequence[str] | None) -> Array:
    assert x is not None
    return np.array([words.index(each) for each in x]) if words else x


def _frame(axis: Axes, panel: Panel, words: Sequence[str] | None, is_x: bool = True) -> None:
    """Axes of a panel."""
    line = panel.lines[0]
    axis.set_ylabel(line.axis, fontsize=8.5)
    if line.quantity.level:
        axis.axhline(line.quantity.level, color="0.35", linewidth=0.8, label=f"{line.quantity.level:g} %", zorder=0)
    if line.is_log and any((each.y > 0).any() for each in panel.lines):
        axis.set_yscale("log")
    elif "%" in line.axis and "accuracy" in line.axis:
        axis.set_ylim(-3, 103)
    else:
        axis.ticklabel_format(axis="y", useOffset=False)
    if not is_x:
        return
    axis.set_xlabel(line.quantity.x_label, fontsize=9)
    if words:
        turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if len(words) > 4 else {}
        axis.set_xticks(range(len(words)), words, fontsize=7, **turned)
        return
    if line.quantity.x_label.startswith(("rank", "largest")):
        axis.set_xscale("log")
        return
    axis.xaxis.set_major_locator(MaxNLocator(5, integer="share" not in line.quantity.x_label and line.x is not None))
    _thousands(axis.xaxis)


def _thousands(*axes: Any) -> None:
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if abs(x) >= 1000 else f"{x:g}"))


def _marks(axis: Axes, marks: Sequence[tuple[str, float]]) -> None:
    """Draw vertical lines with their names."""
    for i, (name, step) in enumerate(marks):
        axis.axvline(step, color="0.45", linewidth=0.9, linestyle=STYLES[i % len(STYLES)], zorder=0)
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "rotation": 90, "fontsize": 6.5, "ha": "right"}
        axis.annotate(plain(name), (step, 0.03 + 0.3 * (i % 3)), color="0.35", **place)


def _places_of_marks(axis: Axes, x: Line, y: Line, marks: Sequence[tuple[str, float]]) -> None:
    assert x.x is not None
    for i, (name, step) in enumerate(marks):
        at = int(np.argmin(np.abs(x.x - step)))
        axis.plot(x.y[at], y.y[at], marker="*", markersize=12, color=COLOURS[1], markeredgecolor="black", zorder=3)
        place: dict[str, Any] = {"xytext": (8, 10 - 10 * i), "textcoords": "offset points", "fontsize": 7}
        axis.annotate(plain(name), (x.y[at], y.y[at]), **place)


def _names(axis: Axes, ends: Mapping[str, tuple[float, dict[str, Any]]]) -> None:
    """Write each name at the end of its line, or all of them in the legend where they are many."""
    if len(ends) > DIRECT:
        for name, (_, look) in ends.items():
            axis.plot([], [], label=plain(name), color=look["color"], marker=look["marker"], markersize=4)
    elif len(ends) > 1 or any(ends):
        to_axes = axis.transData + axis.transAxes.inverted()
        heights = {name: float(to_axes.transform((0.0, y))[1]) for name, (y, _) in ends.items()}
        for name, height in _apart(heights).items():
            look = {key: ends[name][1][key] for key in ("color", "marker")}
            more: dict[str, Any] = {"transform": axis.transAxes, "clip_on": False}
            axis.plot(1.03, height, markersize=5, linestyle="none", **look, **more)
            axis.text(1.06, height, plain(name), color=look["color"], va="center", fontsize=8, transform=axis.transAxes)
    _legend(axis)


def _apart(heights: Mapping[str, float], least: float = 0.08) -> dict[str, float]:
    """Return heights in (0, 1), in their order, no two closer than so much."""
    order = sorted(heights, key=lambda name: heights[name])
    found: list[float] = []
    for name in order:
        found.append(max(min(max(heights[name], 0.0), 1.0), found[-1] + least if found else 0.0))
    for i in reversed(range(len(found))):
        found[i] = min(found[i], 1.0 if i == len(found) - 1 else found[i + 1] - least)
    return dict(zip(order, found, strict=True))


def _legend(axis: Axes) -> None:
    handles: dict[str, Any] = {}
    for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
        handles.setdefault(label, handle)
    if handles:
        axis.legend(handles.values(), handles.keys(), fontsize=7, loc="best", framealpha=0.8, handlelength=2.4)


def _words(value: object, key: str) -> str:
    if isinstance(value, str):
        return value.replace(", ", "\n")
    return f"{100 * float(value):g} %" if key == "intervention.dose" else f"{float(value):g}"  # type: ignore[arg-type]
