"""Pictures of the commutator: D beside its rounding floor, and what D is made of."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minigrok.analyses.commutator.result import Result
from minigrok.engine import Array
from minigrok.plotting import MARKERS, Figure, panel_grid

FLOOR: dict[str, Any] = {"color": "0.45", "linestyle": ":", "label": "rounding, H = 0"}
ERROR: dict[str, Any] = {"color": "0.45", "linestyle": "--", "label": "|float32 - float64|"}
STYLES = ("-", "--", "-.", ":")


def figure(result: Result) -> Figure:
    """Six panels; under the paper's protocol four."""
    return _paper(result) if result.protocol == "paper" else _exact(result)


def _exact(result: Result) -> Figure:
    title = f"{result.run}: commutator of two gradient steps"
    drawn, axes = panel_grid(6 if len(result.sweep_steps) else 5, title, size=(4.6, 3.3))
    _defects(axes[0], result)
    _sizes(axes[1], result)
    _cosines(axes[2], result)
    _modes(axes[3], result)
    _shares(axes[4], result)
    for axis in axes[5:]:
        _sweep(axis, result)
    for axis in axes[:5]:
        _steps(axis, result)
    return drawn


def _paper(result: Result) -> Figure:
    drawn, axes = panel_grid(4, f"{result.run}: commutator, the paper's procedure", columns=2, size=(5.5, 3.3))
    values = result.values
    D = values["float32"][:, 0]
    axis = axes[0]
    axis.plot(result.steps, _log(np.median(D, axis=1)), color="black", label="median")
    axis.plot(result.steps, _log(np.quantile(D, 0.9, axis=1)), color="0.3", linestyle="--", label="90th percentile")
    axis.plot(result.steps, _log(result.extra["error"][:, 0]), **ERROR)
    axis.plot(result.steps, _log(np.median(values["floor"][:, 0], axis=1)), **FLOOR)
    _log_axis(axis)
    zeros = result.steps[np.median(D, axis=1) == 0]
    if len(zeros):
        low = np.full(len(zeros), axis.get_ylim()[0])
        axis.plot(zeros, low, "v", color="black", markerfacecolor="white", clip_on=False, label="median exactly 0")
    axis.set_ylabel("D, float32, total loss (no unit)")
    axis.legend(fontsize=8)
    _size_of(axes[1], result, "g_a", "$|g_A|$")
    _cosines(axes[2], result)
    _rho(axes[3], result)
    for axis in axes:
        _steps(axis, result)
    return drawn


def _defects(axis: Axes, result: Result) -> None:
    v = {name: values[:, 0] for name, values in result.values.items()}
    low, high = np.quantile(v["exact"], [0.25, 0.75], axis=1)
    axis.fill_between(result.steps, low, high, color="0.8", label="exact, quartiles")
    axis.plot(result.steps, np.median(v["exact"], axis=1), color="black", label="exact")
    look: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none", "markersize": 4}
    axis.plot(result.steps, _log(np.median(v["float64"], axis=1)), marker="o", color="0.3", label="float64", **look)
    axis.plot(result.steps, _log(np.median(v["float32"], axis=1)), marker="s", color="0.3", label="float32", **look)
    axis.plot(result.steps, _log(np.median(v["error"], axis=1)), **ERROR)
    axis.plot(result.steps, _log(np.median(v["floor"], axis=1)), **FLOOR)
    _log_axis(axis)
    axis.set_ylabel("D, total loss (no unit)")
    axis.legend(fontsize=7, ncols=2)


def _sizes(axis: Axes, result: Result) -> None:
    _size_of(axis, result, "bracket", "|bracket| (nats$^2$)", "-")
    _size_of(axis, result, "g_a", "$|g_A|$ (nats)", "--")
    _size_of(axis, result, "g_b", "$|g_B|$ (nats)", ":")
    axis.set_ylabel("size, total loss")
    axis.legend(fontsize=8)


def _size_of(axis: Axes, result: Result, name: str, label: str, style: str = "-") -> None:
    axis.plot(result.steps, _log(np.median(result.values[name][:, 0], axis=1)), style, color="black", label=label)
    _log_axis(axis)
    axis.set_ylabel(f"{label} (nats), total loss")


def _cosines(axis: Axes, result: Result) -> None:
    for m, mode in enumerate(result.modes):
        _line(axis, result, m, np.mean(result.values["cosine"][:, m], axis=1), mode)
    axis.axhline(0, color="0.45", linestyle=":", label="chance")
    axis.set_ylabel("$\\cos(g_A, g_B)$")
    axis.legend(fontsize=7)


def _modes(axis: Axes, result: Result) -> None:
    for m, mode in enumerate(result.modes):
        _line(axis, result, m, _log(np.median(result.values["exact"][:, m], axis=1)), mode)
    _log_axis(axis)
    axis.set_ylabel("D exact (no unit)")
    axis.legend(fontsize=7, title="A, B", title_fontsize=7)


def _line(axis: Axes, result: Result, m: int, values: Array, label: str) -> None:
    shade = str(0.0 if m == 0 else 0.2 + 0.5 * m / len(result.modes))
    look: dict[str, Any] = {"color": shade, "linestyle": STYLES[m % len(STYLES)], "marker": MARKERS[m % len(MARKERS)]}
    axis.plot(result.steps, values, markersize=4, markevery=max(1, len(result.steps) // 8), label=label, **look)


def _shares(axis: Axes, result: Result) -> None:
    v = {name: values[:, 0] for name, values in result.values.items()}
    low, high = (_log10(np.median(v[f"run_{end}"] / v["run_chance"], axis=1)) for end in ("low", "high"))
    axis.fill_between(result.steps, low, high, color="0.8", label="one random basis, 95 % of draws")
    axis.axhline(0, color="0.45", linestyle=":")
    for name, style, words in (("run", "-", "basis of the whole run"), ("past", "--", "basis of the past")):
        ratio = _log10(np.median(v[f"{name}_share"] / v[f"{name}_chance"], axis=1))
        axis.plot(result.steps, ratio, style, color="black", label=words)
    outside = _log10(np.median((1 - v["run_share"]) / (1 - v["run_chance"]), axis=1))
    axis.plot(result.steps, outside, "-.", color="0.45", label="outside the basis")
    axis.set_ylabel("$\\log_{10}$(energy share / chance)")
    axis.legend(fontsize=7)


def _sweep(axis: Axes, result: Result) -> None:
    for i, step in enumerate(result.sweep_steps):
        shade, marker = str(0.6 * i / len(result.sweep_steps)), MARKERS[i % len(MARKERS)]
        for name, style in (("exact", "-"), ("float64", "--"), ("float32", "none"), ("floor", ":")):
            look: dict[str, Any] = {
                "color": shade,
                "linestyle": style,
                "marker": marker if name == "float32" else "none",
            }
            axis.plot(
                result.etas, _log(result.sweep[name][i]), **look, label=f"step {step}" if name == "float32" else None
            )
    axis.set_xscale("log")
    _log_axis(axis)
    axis.set_xlabel("step size eta\nexact -, float64 - -, float32 markers, floor ...")
    axis.set_ylabel("D, total loss (no unit)")
    axis.legend(fontsize=7)


def _rho(axis: Axes, result: Result) -> None:
    if "inside" in result.extra:
        inside = {name: result.extra[name][:, 0] for name in result.extra}
        low, high = _log(inside["inside_low"]), _log(inside["inside_high"])
        axis.fill_between(result.steps, low, high, color="0.8", label="one random basis, 95 % of draws")
        axis.plot(result.steps, _log(inside["inside"]), color="black", label="$|B^T \\delta| / |\\delta|$")
        axis.plot(result.steps, _log(inside["rho"]), "--", color="0.3", label="rho: cannot fail")
        _log_axis(axis)
        axis.legend(fontsize=8)
    axis.set_ylabel("ratio of norms")


def _steps(axis: Axes, result: Result) -> None:
    for i, (task, step) in enumerate(result.groks.items()):
        if step is not None:
            axis.axvline(step, color="0.6", linewidth=0.8, linestyle=STYLES[i % len(STYLES)], zorder=0)
            axis.annotate(
                f"{task} groks",
                (step, 0.02 + 0.16 * i),  # tasks that grok together stay legible
                xycoords=("data", "axes fraction"),
                rotation=90,
                fontsize=6,
                ha="right",
                color="0.4",
            )
    axis.set_xlabel("optimiser step")


def _log(values: Array) -> Array:
    """Values for a logarithmic axis: what is not positive has no place on it."""
    return np.where(values > 0, values, np.nan)


def _log10(values: Array) -> Array:
    return np.log10(_log(values))


def _log_axis(axis: Axes) -> None:
    if any(np.isfinite(line.get_ydata()).any() for line in axis.get_lines()):
        axis.set_yscale("log")
