"""Picture of weight_spectra: layer cascades, phase portraits, head cascades and heat maps, with random matrices."""

from typing import Any

import numpy as np

from minigrok.analyses.weight_spectra.result import Result, Series
from minigrok.engine import Array
from minigrok.plotting import Axes, Figure, panel_grid

LINES = ("-", "--", "-.", ":")
GREYS = ("0.0", "0.35", "0.5", "0.6")


def figure(result: Result) -> Figure:
    """Six panels a layer, one of the tasks' read-outs, and one for every two layers that follow."""
    title = f"{result.run}: spectra of queries and keys; vertical lines: grok steps"
    readouts = [each for each in result.series if each.layer < 0]
    ratios = [each for each in result.series if each.kind == "layers"]
    panels = 6 * result.layers + bool(readouts) + len(ratios) // 2
    drawn, axes = panel_grid(panels, title, size=(4.4, 3.1))
    for layer in range(result.layers):
        _draw_layer(axes[6 * layer : 6 * layer + 6], result, layer)
    if readouts:
        _pairs(axes[6 * result.layers], result, readouts, "read-outs, W - start")
    for axis, raw, normalised in zip(axes[len(axes) - len(ratios) // 2 :], ratios[::2], ratios[1::2], strict=True):
        _between_layers(axis, result, raw, normalised)
    return drawn


def _draw_layer(axes: list[Axes], result: Result, layer: int) -> None:
    found = {each.name: each for each in result.series if each.layer == layer}
    gap, c = found["W_Q s1 - s2"], found["[W_Q, W_K]"]
    _lines(axes[0], result, [gap, found["W_K s1 - s2"]], f"layer {layer}: gaps", "$s_1 - s_2$ (weights)")
    _lines(axes[1], result, [c], f"layer {layer}: commutator", "$|W_Q W_K - W_K W_Q|_F$ (weights$^2$)")
    _portrait(axes[2], result, gap, c, layer)
    products = [each for name, each in found.items() if "W_Q'W_K" in name]
    heads = products or [each for name, each in found.items() if "W_Q block s1" in name]
    what, unit = ("$W_Q^T W_K$ of the heads", "weights$^2$") if products else ("diagonal blocks of $W_Q$", "weights")
    _lines(axes[3], result, heads, f"layer {layer}: {what}", f"$s_1 - s_2$ ({unit})")
    _heat_map(axes[4], result, layer)
    pairs = [each for each in found.values() if each.kind == "pair"]
    if pairs:
        _pairs(axes[5], result, pairs, f"layer {layer}: W - start")
    else:
        axes[5].remove()


def _lines(axis: Axes, result: Result, series: list[Series], title: str, label: str) -> None:
    for i, each in enumerate(series):
        look: dict[str, Any] = {"linestyle": LINES[i % 4], "color": GREYS[i % 4], "linewidth": 1.4}
        axis.plot(result.steps, each.values, label=each.name.removesuffix(" s1 - s2"), **look)
    axis.plot(result.steps, series[0].random, color="0.7", linewidth=3, zorder=0, label="random, same norms")
    _frame(axis, result, title, label)


def _portrait(axis: Axes, result: Result, gap: Series, c: Series, layer: int) -> None:
    axis.plot(gap.values, c.values, color="black", linewidth=1, label="measured")
    axis.plot(gap.random, c.random, color="0.65", linewidth=3, zorder=0, label="random, same norms")
    axis.plot(gap.values[0], c.values[0], "o", color="white", markeredgecolor="black", label="start")
    axis.plot(gap.values[-1], c.values[-1], "s", color="black", label="end")
    axis.set_title(f"layer {layer}: phase portrait")
    axis.set_xlabel("gap $s_1 - s_2$ of $W_Q$ (weights)")
    axis.set_ylabel("commutator (weights$^2$)")
    axis.legend(fontsize=7)


def _heat_map(axis: Axes, result: Result, layer: int) -> None:
    """Block commutators over their random value: head by step."""
    ratio = (result.arrays["block_c"] / result.arrays["block_c_random"])[:, layer].T  # (H, S)
    edges = _edges(result.steps)
    mesh = axis.pcolormesh(edges, np.arange(result.heads + 1) - 0.5, ratio, cmap="Greys", vmin=0, rasterized=True)
    bar = axis.figure.colorbar(mesh, ax=axis)
    bar.set_label("1 = random")
    axis.grid(visible=False)
    _frame(axis, result, f"layer {layer}: block commutators / random", "head", has_legend=False)
    axis.set_yticks(range(result.heads))


def _pairs(axis: Axes, result: Result, series: list[Series], title: str) -> None:
    if np.isfinite(result.pair_band).all():
        axis.axhspan(*result.pair_band, color="0.88", zorder=0, label="random, 95 % of draws")
    for i, each in enumerate(series):
        look: dict[str, Any] = {"linestyle": LINES[i % 4], "color": GREYS[i % 4], "linewidth": 1.4}
        axis.plot(result.steps, each.values, label=each.name.removesuffix(" - start"), **look)
    axis.set_ylim(0, 1.35)
    _frame(axis, result, title, "pair index $(s_2 - s_3) / (s_1 - s_3)$", has_legend=False)
    axis.legend(fontsize=7, loc="upper left", ncols=3)


def _between_layers(axis: Axes, result: Result, raw: Series, normalised: Series) -> None:
    if np.isfinite(result.layers_band).all():
        axis.axhspan(*result.layers_band, color="0.88", zorder=0, label="random, normalised, 95 % of draws")
    axis.plot(result.steps, raw.values, color=GREYS[0], linewidth=1.4, label="measured")
    axis.plot(result.steps, raw.random, color="0.7", linewidth=3, zorder=0, label="random, same norms")
    axis.plot(result.steps, normalised.values, color=GREYS[1], linestyle="--", linewidth=1.4, label="normalised")
    _frame(axis, result, f"commutator of layer {raw.layer} over that of layer {raw.layer + 1}", "ratio")


def _frame(axis: Axes, result: Result, title: str, label: str, has_legend: bool = True) -> None:
    for step in result.groks.values():
        if step is not None:
            axis.axvline(step, color="0.3", linestyle=":", linewidth=1.2)
    axis.set_title(title)
    axis.set_xlabel("optimiser step")
    axis.set_ylabel(label)
    if has_legend:
        axis.legend(fontsize=7)


def _edges(steps: Array) -> Array:
    """Return the borders (S + 1,) between snapshots."""
    middle = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([steps[:1] - (middle[:1] - steps[:1]), middle, steps[-1:] + (steps[-1:] - middle[-1:])])
