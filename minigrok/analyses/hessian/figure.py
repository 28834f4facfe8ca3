"""Pictures of the analysis `hessian`: the exact one and the paper's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minigrok.analyses.hessian.result import Paper, Result
from minigrok.analyses.shared.curvature import LINEAR
from minigrok.engine import Array
from minigrok.plotting import COLOURS, MARKERS, Figure, panel_grid

SIZE = (5.2, 3.7)
STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
SHADES = ("0.75", "0.45", "0.0")  # first, middle and last snapshot


def figure(result: Result | Paper) -> Figure:
    """Draw the picture of the protocol that was asked for."""
    return _paper(result) if isinstance(result, Paper) else _exact(result)


def _exact(result: Result) -> Figure:
    """Ends of the spectrum, its parts, the manifold against random bases, matched loss, traces, density."""
    points = result.checkpoints
    panels = [_draw_ends, _draw_matched]
    panels += [_draw_split] if any(e.operator == "G" for e in points[0].ends) else []
    panels += [_draw_manifold] if points[0].inside else []
    panels += [_draw_traces] if points[0].traced else []
    panels += [_draw_density] if any(p.density for p in points) else []
    drawn, axes = panel_grid(
        len(panels), f"{result.run}: curvature of the training loss, all pairs, float64", size=SIZE
    )
    for axis, draw in zip(axes, panels, strict=True):
        draw(axis, result)
    drawn.text(0.995, 0.985, "hollow: not converged, bar: residual", ha="right", va="top", fontsize=9)
    return drawn


def _line(axis: Axes, result: Result, operator: str, sides: Sequence[str], i: int, label: str) -> None:
    """Draw the outermost values of an operator against the step; upwards triangles are highest values."""
    found = [(point.step, ends) for point in result.checkpoints for ends in point.ends if ends.operator == operator]
    steps, colour = np.array([step for step, _ in found]), COLOURS[i % len(COLOURS)] if i >= 0 else "black"
    for side in sides:
        each = [getattr(ends, side) for _, ends in found]
        values, residuals = np.array([end.values[0] for end in each]), [end.residuals[0] for end in each]
        good = np.array([end.converged[0] for end in each])
        shown, marker = label if side == sides[0] else None, "^" if side == "highest" else "v"
        axis.errorbar(
            steps,
            values,
            residuals,
            color=colour,
            linestyle=STYLES[(i + 1) % len(STYLES)],
            linewidth=1.2,
            capsize=2,
            label=shown,
        )
        for kind, face in ((good, colour), (~good, "white")):
            axis.plot(steps[kind], values[kind], marker, color=colour, markerfacecolor=face, markersize=6)


def _finish(axis: Axes, title: str, values: Sequence[float]) -> None:
    """Label an axis of eigenvalues, logarithmic on both sides of 0, linear below a thousandth of the largest."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest > 0:
        axis.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(1e-3 * largest)))
    axis.axhline(0, color="0.4", linewidth=0.8)
    axis.set_title(title)
    axis.set_xlabel("optimiser step")
    axis.set_ylabel("eigenvalue (nats)")
    axis.legend(fontsize=8, loc="best")


def _outermost(result: Result, operators: Sequence[str]) -> list[float]:
    ends = [e for p in result.checkpoints for e in p.ends if e.operator in operators]
    return [float(end.values[0]) for e in ends for end in (e.lowest, e.highest) if end.values.size]


def _draw_ends(axis: Axes, result: Result) -> None:
    operators = ["H", *(f"H of {task}" for task in result.tasks)]
    present = {e.operator for p in result.checkpoints for e in p.ends}
    for i, operator in enumerate(o for o in operators if o in present):
        _line(axis, result, operator, ("highest", "lowest"), i - 1, operator)
    _finish(axis, "Highest and lowest eigenvalue", _outermost(result, operators))


def _draw_matched(axis: Axes, result: Result) -> None:
    H = [next(e for e in p.ends if e.operator == "H") for p in result.checkpoints]
    loss = np.array([p.losses.sum() for p in result.checkpoints])
    share = np.array(
        [100 * -e.lowest.values[0] / e.highest.values[0] if e.highest.values[0] > 0 else np.nan for e in H]
    )
    good = np.array([e.lowest.converged[0] for e in H])
    axis.plot(loss, share, color="0.6", linewidth=1)
    for kind, face in ((good, "black"), (~good, "white")):
        axis.plot(loss[kind], share[kind], "o", color="black", markerfacecolor=face)
    for point, x, y in zip(result.checkpoints, loss, share, strict=True):
        axis.annotate(f" {point.step}", (x, y), fontsize=8, textcoords="offset points", xytext=(4, 4))
    for values, scale in ((loss, axis.set_xscale), (share, axis.set_yscale)):
        if (values > 0).all():
            scale("log")
    axis.margins(x=0.15, y=0.15)
    axis.set_title("Negative curvature at matched loss (numbers: steps)")
    axis.set_xlabel("train loss, sum over tasks (nats)")
    axis.set_ylabel("-lowest / highest (%)")


def _draw_split(axis: Axes, result: Result) -> None:
    _line(axis, result, "H", ("lowest",), -1, "H")
    _line(axis, result, "G", ("highest",), 0, "G, Gauss-Newton")
    _line(axis, result, "H - G", ("highest", "lowest"), 1, "H - G, network")
    _finish(axis, "Which part curves", _outermost(result, ["H", "G", "H - G"]))


def _draw_manifold(axis: Axes, result: Result) -> None:
    points = [p for p in result.checkpoints if p.inside]
    steps = [p.step for p in points]
    inside = [p.inside for p in points if p.inside]
    low, high = [each.random.min() for each in inside], [each.random.max() for each in inside]
    axis.fill_between(steps, low, high, color="0.8", label=f"inside random B ({len(inside[0].random)} drawn)", zorder=0)
    for marker, pick in (("^", -1), ("v", 0)):
        values = [each.values[pick] for each in inside]
        axis.plot(steps, values, color="black", marker=marker, label="inside B, exact" if pick else None)
    _line(axis, result, "H outside B", ("highest", "lowest"), 1, "outside B")
    values = _outermost(result, ["H outside B"]) + [float(x) for each in inside for x in each.values[[0, -1]]]
    _finish(axis, "Execution manifold B", [*values, *low, *high])


def _draw_traces(axis: Axes, result: Result) -> None:
    steps = [p.step for p in result.checkpoints]
    values = np.array([p.traced.mean[0] for p in result.checkpoints if p.traced])  # (S, groups + 1)
    wide = np.array([p.traced.ends[1, 0] for p in result.checkpoints if p.traced]) - values  # nan: no interval
    probes = [p.traced.probes for p in result.checkpoints if p.traced]
    for i, group in enumerate([*result.groups, "all"]):
        last = i == len(result.groups)
        look: dict[str, Any] = {"color": "black" if last else COLOURS[i % 7], "linewidth": 2 if last else 1.2}
        look |= {"linestyle": STYLES[i % len(STYLES)] if not last else "-", "marker": MARKERS[i % 7], "markersize": 5}
        axis.errorbar(steps, values[:, i], np.nan_to_num(wide[:, i]), capsize=2, label=group, **look)
    bar = f" (bar: 95 %, {probes[0]} draws)" if np.isfinite(wide).any() else ""
    _finish(axis, f"Trace of H by parameters{bar}", values.ravel().tolist())
    axis.set_ylabel("trace (nats)")
    axis.legend(fontsize=7, ncols=2, loc="best")


def _draw_density(axis: Axes, result: Result) -> None:
    points = [p for p in result.checkpoints if p.density]
    chosen = sorted({0, len(points) // 2, len(points) - 1})
    for i, shade, style in zip(chosen, SHADES[-len(chosen) :], STYLES, strict=False):
        density = points[i].density
        assert density is not None
        n = len(density.each)
        axis.fill_between(density.relative, density.each.min(axis=0), density.each.max(axis=0), color=shade, alpha=0.25)
        resolved = ", ".join(f"{100 * share:.0f}" for share in density.resolved)
        label = f"step {points[i].step}, highest |value| {density.scale:.3g}, resolved: {resolved} %"
        axis.plot(density.relative, density.each.mean(axis=0), color=shade, linestyle=style, label=label)
    axis.set_xscale("asinh", linear_width=LINEAR)
    axis.set_xticks([-1, -0.1, -0.01, 0, 0.01, 0.1, 1], ["-1", "-.1", "-.01", "0", ".01", ".1", "1"])
    axis.set_yscale("log")
    axis.set_ylim(0.1, None)
    axis.set_title(f"Spectral density (band: {n} random starts)")
    axis.set_xlabel("eigenvalue / largest |eigenvalue|, asinh scale")
    axis.set_ylabel("eigenvalues per unit of asinh(1000 x)")
    axis.legend(fontsize=8, loc="best")


def _paper(result: Paper) -> Figure:
    """Draw the five smallest Ritz values of each mode with their true residuals."""
    title = f"{result.run}: the paper's smallest eigenvalues, {result.sample} pairs redrawn each time"
    drawn, axes = panel_grid(len(result.modes), title, size=SIZE)
    for m, (axis, mode) in enumerate(zip(axes, result.modes, strict=True)):
        _draw_five(axis, result.steps, result.values[:, m], result.residuals[:, m])
        onset = result.onsets[m]
        if onset is not None:
            axis.axvline(onset, color="0.35", linestyle="--", label="onset: 3 in a row below -0.01")
        axis.set_title(f"{mode} loss")
        axis.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.17))
    return drawn


def _draw_five(axis: Axes, steps: Array, values: Array, residuals: Array) -> None:
    for i, shade in enumerate(("0.0", "0.35", "0.5", "0.62", "0.75")):
        axis.errorbar(
            steps,
            values[:, i],
            residuals[:, i],
            color=shade,
            marker=MARKERS[i],
            markersize=4,
            linewidth=1,
            capsize=2,
            label=f"$\\lambda_{i + 1}$ with residual",
        )
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    axis.set_yscale("symlog", linthresh=float(max(np.median(sizes) / 10, 1e-12)) if sizes.size else 1.0)
    axis.axhline(0, color="0.4", linewidth=0.8)
    axis.set_xlabel("optimiser step")
    axis.set_ylabel("Ritz value (nats)")
