"""Picture of onset: traces, who is before whom, the threshold family, onset against grok step, exchanges."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minigrok.analyses.onset.result import Result, RunOnsets
from minigrok.analyses.shared import events
from minigrok.engine import Array
from minigrok.plotting import Figure, panel_grid

MARKS = {"v2": "^", "spike": "o", "memorised": "s"}
LINES = ("-", "--", ":")
SHOWN = events.STREAK  # definition of grokking in the panels


def figure(result: Result) -> Figure:
    """Six panels; grok steps by 0.98 x 3."""
    drawn, axes = panel_grid(
        6,
        f"Defect onset of {len(result.runs)} run{'s' * (len(result.runs) > 1)}; grok step: first task, {SHOWN}",
        size=(4.6, 3.5),
    )
    _traces(axes[0], result)
    _counts(axes[1], result)
    _laws(axes[2], result)
    _lead(axes[3], result)
    _before(axes[4], result)
    _scatter(axes[5], result)
    return drawn


def _traces(axis: Axes, result: Result) -> None:
    for run in result.runs:
        grok = run.groks[SHOWN]
        look: dict[str, Any] = {"color": "0.65", "linestyle": "--"} if grok is None else {"color": "black"}
        axis.plot(run.trace.steps, _positive(run.trace.D), linewidth=0.9, **look)
        for name, mark in (("v2", "^"), ("spike", "o")):
            _mark(axis, run, run.onsets[name].step, mark, "white")
        _mark(axis, run, grok, "*", "black")
    axis.plot([], [], color="black", label="groks")
    axis.plot([], [], color="0.65", linestyle="--", label="never groks")
    for label, mark, face in (("onset v2", "^", "white"), ("onset spike", "o", "white"), ("grok", "*", "black")):
        axis.plot([], [], mark, color="black", markerfacecolor=face, label=label)
    axis.set_yscale("log")
    axis.set_title("defect over training")
    axis.set_xlabel("optimiser step")
    axis.set_ylabel("D (dimensionless)")
    axis.legend(fontsize=7)


def _positive(D: Array) -> Array:
    return np.where(D > 0, D, np.nan)


def _mark(axis: Axes, run: RunOnsets, step: int | None, mark: str, face: str) -> None:
    if step is not None:
        D = np.interp(step, run.trace.steps, run.trace.D)
        axis.plot([step], [D], mark, color="black", markerfacecolor=face, markersize=7, zorder=4)


def _counts(axis: Axes, result: Result) -> None:
    scores = result.scores[SHOWN]
    for i, s in enumerate(scores.values()):
        if s.runs:
            axis.barh(i - 0.2, s.before / s.runs, 0.4, color="black", label="before grok" if not i else None)
        if s.controls:
            label = "in runs that never grok" if not i else None
            axis.barh(i + 0.2, s.alarms / s.controls, 0.4, color="white", edgecolor="black", hatch="////", label=label)
        if s.expected >= 0:
            label = "before grok, by chance" if not i else None
            axis.plot([s.expected / s.runs], [i - 0.2], "D", color="0.6", markeredgecolor="black", label=label)
    axis.set_yticks(range(len(scores)), list(scores), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.05)
    axis.set_title("which event comes before grokking")
    axis.set_xlabel("share of runs")
    axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.4, -0.18))


def _laws(axis: Axes, result: Result) -> None:
    for name, shade, mark in (("v2", "black", "^"), ("spike", "0.5", "o")):
        s = result.scores[SHOWN][name]
        look: dict[str, Any] = {"color": shade, "marker": mark, "markerfacecolor": "white", "linewidth": 1.2}
        axis.plot(range(len(s.law)), s.law, label=f"{name}: grok steps exchanged", **look)
        axis.axvline(s.common, color=shade, linewidth=4 if shade != "black" else 2, zorder=0, label=f"{name}: measured")
        axis.set_xlabel(f"runs with onset before grok, of {s.runs}")
    _none(axis, result.scores[SHOWN]["v2"].runs > 0, "no run groks")
    axis.set_title("onset before another run's grok, as often?")
    axis.set_ylabel("share of exchanges")
    axis.set_ylim(0, 1.05)
    axis.legend(fontsize=6)


def _lead(axis: Axes, result: Result) -> None:
    family = result.families[SHOWN]
    for j, floor in enumerate(result.floors):
        axis.plot(result.factors, family.lead[:, j], LINES[j], marker="o", color="black", label=f"floor D > {floor:g}")
    axis.axhline(0, color="0.6")
    _factors(axis, result)
    _none(axis, np.isfinite(family.lead).any(), "no run groks after an onset")
    axis.set_title("threshold family: lead")
    axis.set_ylabel("median lead (steps)")
    axis.legend(fontsize=7)


def _before(axis: Axes, result: Result) -> None:
    family = result.families[SHOWN]
    for j, floor in enumerate(result.floors):
        axis.plot(
            result.factors, family.before[:, j], LINES[j], marker="o", color="black", label=f"before, floor {floor:g}"
        )
        axis.plot(
            result.factors, family.alarms[:, j], LINES[j], marker="x", color="0.5", label=f"alarms, floor {floor:g}"
        )
    axis.plot(result.factors, family.chance[:, 0], color="0.8", linewidth=4, zorder=0, label="before, uniform onset")
    _factors(axis, result)
    axis.set_ylim(-0.03, 1.03)
    axis.set_title("threshold family: share of runs")
    axis.set_ylabel("share")
    axis.legend(fontsize=6)


def _none(axis: Axes, is_any: bool | np.bool_, words: str) -> None:
    if not is_any:
        axis.text(0.5, 0.6, words, transform=axis.transAxes, ha="center", va="center", color="0.3")


def _factors(axis: Axes, result: Result) -> None:
    axis.set_xscale("log")
    axis.set_xlim(result.factors[0] / 1.2, result.factors[-1] * 1.2)
    axis.set_xticks(result.factors, [f"{factor:g}" for factor in result.factors])
    axis.minorticks_off()
    axis.set_xlabel("factor over the baseline")


def _scatter(axis: Axes, result: Result) -> None:
    groks = [run for run in result.runs if run.groks[SHOWN] is not None]
    for name, mark in MARKS.items():
        points = [(run.groks[SHOWN], run.onsets[name].step) for run in groks if run.onsets[name].step is not None]
        if points:
            gamma = result.scores[SHOWN][name].gamma
            label = name if np.isnan(gamma) else f"{name}, $\\gamma$ = {gamma:.2f}"
            axis.plot(*zip(*points, strict=True), mark, color="black", markerfacecolor="white", label=label)
    if groks:
        ends = [min(run.groks[SHOWN] or 1 for run in groks), max(run.groks[SHOWN] or 1 for run in groks)]
        axis.plot(ends, ends, color="0.6", label="onset = grok")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7)
    _none(axis, bool(groks), "no run groks")
    axis.set_title("onset against grok step")
    axis.set_xlabel("grok step (optimiser steps)")
    axis.set_ylabel("onset (optimiser steps)")
