"""The phase diagram, and what goes with it. Weight decay is on a logarithmic axis, 0 in a slot left of it."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minigrok.analyses.phase.laws import MEAN
from minigrok.analyses.phase.rebuilt import PARTS
from minigrok.analyses.phase.result import Result
from minigrok.analyses.phase.runs import REGIMES, Condition, Life, main_line
from minigrok.engine import Array
from minigrok.plotting import MARKERS, Figure, style

PANELS = [["A", "A", "B", "C"], ["A", "A", "D", "E"], ["F", "G", "H", "I"]]
SLOT = 0.45  # decades between the smallest weight decay and the slot of 0
LINES = ("-", "--", ":", "-.")
SHADES = ("black", "0.35", "0.6")
LEARNING, MEMORISED, GENERALISED = "white", "0.9", "0.72"


class Places:
    """Where a condition stands on the axis of weight decays; what else varies shifts it a little."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        positive = [c.wd for c in conditions if c.wd > 0]
        self.zero = np.log10(min(positive)) - SLOT if positive else 0.0
        self.has_zero = any(c.wd == 0 for c in conditions)
        self._of = {wd: [c for c in conditions if c.wd == wd] for wd in {c.wd for c in conditions}}
        self._ticks = sorted({c.wd for c in conditions})

    def __call__(self, condition: Condition) -> float:
        """Return the place of a condition."""
        same = self._of[condition.wd]
        return self.of(condition.wd) + 0.09 * (same.index(condition) - (len(same) - 1) / 2)

    def of(self, wd: float) -> float:
        """Return the place of a weight decay."""
        return float(np.log10(wd)) if wd > 0 else self.zero

    def mark(self, axis: Axes) -> None:
        """Label the axis, and cut it between 0 and the rest."""
        places = [self.of(wd) for wd in self._ticks]
        axis.set_xticks(places, [f"{wd:g}" for wd in self._ticks])
        axis.set_xlim(places[0] - 0.2, places[-1] + 0.15)
        axis.set_xlabel("weight decay wd")
        if self.has_zero and len(places) > 1:
            cut = self.zero + SLOT / 2
            axis.axvline(cut, color="0.5", linewidth=1, linestyle=(0, (2, 2)), zorder=0)
            axis.text(cut, 0, "//", transform=axis.get_xaxis_transform(), ha="center", va="center", color="0.3")


def figure(result: Result) -> Figure:
    """Draw the diagram and eight panels beside it."""
    places = Places(result.conditions)
    with style():
        drawn = Figure(figsize=(19, 13), layout="constrained")
        tasks, n = " + ".join(result.tasks), len(result.lives)
        what = f"{tasks}, {n} run{'s' * (n > 1)} (small: each run; large: median of a condition)"
        drawn.suptitle(f"Weight decay and grokking: {what}", x=0.01, ha="left", fontsize=15)
        axes = drawn.subplot_mosaic(PANELS)  # type: ignore[arg-type]
    _diagram(axes["A"], result, places)
    _clock(axes["B"], result, places)
    _survival(axes["C"], result)
    _norms(axes["D"], result, places)
    _gradients(axes["E"], result, places)
    _slingshots(axes["F"], result, places)
    _curvature(axes["G"], result, places)
    _leads(axes["H"], result, places)
    _thresholds(axes["I"], result, places)
    for key, axis in axes.items():
        if key != "C":
            places.mark(axis)
    return drawn


def _diagram(axis: Axes, result: Result, places: Places) -> None:
    _phases(axis, result, places)
    _lines(axis, result, places)
    for i, life in enumerate(result.lives):
        for k in range(len(result.tasks)):
            x = places(life.condition) + 0.03 * (k - (len(result.tasks) - 1) / 2) + 0.004 * (i % 5 - 2)
            look: dict[str, Any] = {"marker": MARKERS[k], "color": "black", "markersize": 7, "linestyle": "none"}
            if life.grokked[k]:
                axis.plot([x], [life.times[k]], markerfacecolor="black", zorder=5, **look)
            else:
                axis.plot([x], [life.times[k]], markerfacecolor="white", zorder=5, **look)
                arrow = {"arrowstyle": "->", "color": "black", "shrinkA": 4}
                axis.annotate("", (x, 1.45 * life.times[k]), (x, life.times[k]), arrowprops=arrow)
        axis.plot([places(life.condition)], [life.memorised.max()], "_", color="black", markersize=11)
    for k, task in enumerate(result.tasks):
        axis.plot([], [], MARKERS[k], color="black", label=f"{task}: grokked")
    axis.plot([], [], "o", color="black", markerfacecolor="white", label="did not by then (arrow)")
    axis.plot([], [], "_", color="black", markersize=11, label="all tasks memorised")
    axis.set_yscale("log")
    axis.set_ylim(_bottom(result.lives), _top(result.lives))
    axis.set_ylabel("optimiser step t")
    axis.set_title("phase diagram: medians over seeds bound the phases")
    axis.legend(fontsize=9, loc="lower center", ncols=3)


def _bottom(lives: Sequence[Life]) -> float:
    """Lower end of the diagram: room for "learning", and for the legend below it."""
    known = [life.memorised.max() for life in lives if not np.isnan(life.memorised).any()]
    return 0.2 * min(known) if known else 1.0


def _top(lives: Sequence[Life]) -> float:
    return 2.5 * max(life.last for life in lives)


def _phases(axis: Axes, result: Result, places: Places) -> None:
    """Shade the phases between the medians of the runs that laws are of; what did not grok has a column of its own."""
    line = main_line(result.lives)
    top, known = _top(result.lives), []
    for condition, curve in zip(result.conditions, result.waiting.curves, strict=True):
        lives = [life for life in result.lives if life.condition == condition]
        memorised = float(np.median([life.memorised.max() for life in lives]))
        grokked, x = curve.median().value, places(condition)
        if np.isnan(memorised):
            continue
        if grokked is not None and (condition.lr, condition.numerics) == line and condition.wd > 0:
            known.append((x, memorised, grokked))
        elif grokked is None:
            axis.bar(x, curve.times[-1] - memorised, 0.07, memorised, color=MEMORISED, edgecolor="0.6", zorder=0.5)
            axis.bar(x, top, 0.07, curve.times[-1], color="white", edgecolor="0.7", hatch="xxx", zorder=0.5)
    if known:
        _between(axis, np.array(sorted(known)).T, top)


def _between(axis: Axes, known: Array, top: float) -> None:
    """Shade between the medians (3, conditions): places, memorised, grokked."""
    x, memorised, grokked = (_widened(row, by) for row, by in zip(known, (0.1, 0.0, 0.0), strict=True))
    axis.fill_between(x, memorised, grokked, color=MEMORISED, zorder=0.4, linewidth=0)
    axis.fill_between(x, grokked, top, color=GENERALISED, zorder=0.4, linewidth=0)
    low, high = (float(np.interp(x.mean(), x, y)) for y in (memorised, grokked))
    words: dict[str, Any] = {"fontsize": 14, "color": "0.25", "ha": "center", "va": "center"}
    axis.text(x.mean(), 0.7 * low, "learning", **words)
    axis.text(x.mean(), np.sqrt(low * high), "memorised", **words)
    axis.text(x.mean(), np.sqrt(high * top), "generalised", **words)
    for y in (memorised, grokked):
        axis.plot(x, y, color="0.45", linewidth=1, zorder=0.6)


def _widened(values: Array, by: float) -> Array:
    """Add a value on both sides, so that the phases go a little beyond the outermost conditions."""
    return np.concatenate([[values[0] - by], values, [values[-1] + by]])


def _lines(axis: Axes, result: Result, places: Places) -> None:
    """Draw the best law with its band, the power law and the clock."""
    response = result.laws.get(MEAN) or next(iter(result.laws.values()))
    over = response.over["all wd > 0"]
    if not over.fits or len(over.wd) < 2:
        return
    wd = np.geomspace(over.wd[0] / 1.2, over.wd[-1] * 1.2, 100)
    x = np.log10(wd)
    best = over.fits[0]
    axis.fill_between(x, *best.band(wd), color="black", alpha=0.25, linewidth=0, zorder=2)
    named = {fit.law: fit for fit in over.fits}
    for fit, dashes in ((best, "-"), (named["power law"], "--"), (named["clock"], ":")):
        if fit is not best or dashes == "-":
            words = {"power law": f"power law, b = {named['power law'].parameters[1]:.2f}", "clock": "t = a / wd"}
            band = f" (95 %, {best.df} df)" if best.df else ""
            say = f"{words.get(fit.law, fit.law)}{', smallest AICc' + band if fit is best else ''}"
            axis.plot(x, fit(wd), dashes, color="black", linewidth=1.6, zorder=3, label=say)


def _clock(axis: Axes, result: Result, places: Places) -> None:
    for k, task in enumerate(result.tasks):
        points = [(places(x.condition), x.clock * x.times[k]) for x in result.lives if x.grokked[k] and x.clock]
        if points:
            axis.plot(*zip(*points, strict=True), MARKERS[k], color="black", markerfacecolor="white", label=task)
    response = result.laws.get(MEAN) or next(iter(result.laws.values()))
    clock = next((fit for fit in response.over["all wd > 0"].fits if fit.law == "clock"), None)
    rates = {c.lr for c in result.conditions}
    if clock is not None and len(rates) == 1:
        axis.axhline(clock.parameters[0] * rates.pop(), color="0.5", linestyle="--", label="constant")
    axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
    _close(axis, "decay clock at grokking", "lr wd t (dimensionless)", "no run with weight decay grokked")


def _survival(axis: Axes, result: Result) -> None:
    for i, (name, curve) in enumerate(zip(result.labels, result.waiting.curves, strict=True)):
        start = min(life.last for life in result.lives) / 300  # room for the legend
        t, S = np.concatenate([[start], curve.times]), np.concatenate([[1.0], curve.survival])
        look: dict[str, Any] = {"color": SHADES[i % 3], "linestyle": LINES[i // 3 % 4], "linewidth": 1.8}
        axis.step(t, S, where="post", label=f"{name} (n = {curve.at_risk[0]})", **look)
        left = curve.at_risk - np.append(curve.at_risk[1:], 0) > curve.events
        axis.plot(curve.times[left], curve.survival[left], "+", color=SHADES[i % 3], markersize=10)
    axis.set_xscale("log")
    axis.set_ylim(-0.03, 1.05)
    axis.set_xlabel("optimiser step t")
    axis.plot([], [], "+", color="black", label="ended before")
    _close(axis, "not grokked by t (all tasks)", "share of runs, Kaplan-Meier", "")


def _norms(axis: Axes, result: Result, places: Places) -> None:
    names = {"start": "start", "memorised": "memorised", "end": "last evaluation"}
    for i, (key, words) in enumerate(names.items()):
        _medians(axis, result, places, [life.norms[key] for life in result.lives], i, words)
    axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
    _close(axis, "parameter norm", "|theta| (dimensionless)", "no run memorised")


def _gradients(axis: Axes, result: Result, places: Places) -> None:
    for i, regime in enumerate(REGIMES):
        _medians(axis, result, places, [life.gradients[regime] for life in result.lives], i, regime)
    if any(value > 0 for life in result.lives for value in life.gradients.values()):
        axis.set_yscale("log")
    _close(axis, "gradient norm, median of each regime", "|gradient| before clipping (nats)", "")


def _thresholds(axis: Axes, result: Result, places: Places) -> None:
    for i, part in enumerate(PARTS):
        ks = [np.nan if each is None else each.first(part) for each in result.rebuilt]
        _medians(axis, result, places, ks, i, f"{part} pairs")
    axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
    nothing = "no k*: none reaches .90,\nor components = 0"
    _close(axis, "k*: components that rebuild .90 in every task", "k* (first crossing)", nothing)


def _slingshots(axis: Axes, result: Result, places: Places) -> None:
    rates = [1e4 * len(life.slingshots) / life.watched if life.watched else np.nan for life in result.lives]
    _medians(axis, result, places, rates, 0, None)
    axis.set_ylim(bottom=-0.05 * max([1, *np.nan_to_num(rates)]))
    _close(axis, "slingshots after memorising", "cycles in 10,000 steps (lower bound)", "no run memorised")


def _curvature(axis: Axes, result: Result, places: Places) -> None:
    kinds = dict.fromkeys(depth.kind for depths in result.depths for depth in depths)
    for i, kind in enumerate(kinds):
        found = [next((d for d in depths if d.kind == kind), None) for depths in result.depths]
        x = [
            places(life.condition) + 0.04 * (i - 1)
            for life, d in zip(result.lives, found, strict=True)
            if d and d.value < 0
        ]
        y = [(-d.value, d.residual) for d in found if d and d.value < 0]
        if y:
            value, residual = np.array(y).T
            look: dict[str, Any] = {"fmt": MARKERS[i], "color": SHADES[i % 3], "markerfacecolor": "white", "capsize": 3}
            residual = np.minimum(residual, 0.99 * value)  # the axis is logarithmic
            axis.errorbar(x, value, residual, label=f"{kind} (bar: residual)", **look)
    if kinds:
        axis.set_yscale("log")
    _close(
        axis,
        "curvature: lowest eigenvalue",
        "- lowest eigenvalue (nats)",
        "no analysis hessian,\nand curvature = false",
    )


def _leads(axis: Axes, result: Result, places: Places) -> None:
    detectors = dict.fromkeys(lead.detector for leads in result.leads for lead in leads)
    for i, detector in enumerate(detectors):
        found = [next((x.lead for x in leads if x.detector == detector), np.nan) for leads in result.leads]
        _medians(axis, result, places, found, i, f"onset {detector}")
    if detectors:
        axis.axhline(0, color="0.6", linewidth=1)
    _close(axis, "lead of the defect's onset", "grok step of first task - onset (steps)", "no analysis commutator")


def _medians(axis: Axes, result: Result, places: Places, values: Sequence[float], i: int, words: str | None) -> None:
    """Draw each run small, and the median of each condition large."""
    shade, shift = SHADES[i % 3], 0.03 * (i - 1)
    label = words
    for condition in result.conditions:
        own: Iterable[float] = (v for v, life in zip(values, result.lives, strict=True) if life.condition == condition)
        y = np.array([v for v in own if np.isfinite(v)])
        if y.size:
            x = places(condition) + shift
            axis.plot(np.full(y.size, x), y, MARKERS[i], color=shade, markersize=3)
            axis.plot([x], [np.median(y)], MARKERS[i], color=shade, markerfacecolor="white", markersize=9, label=label)
            label = None


def _close(axis: Axes, title: str, ylabel: str, nothing: str) -> None:
    axis.set_title(title)
    axis.set_ylabel(ylabel)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=8, loc="best")
    elif not axis.lines:
        axis.text(0.5, 0.5, nothing, transform=axis.transAxes, ha="center", va="center", color="0.3")
