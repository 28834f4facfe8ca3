"""Picture of fourier: spectra of embedding and logits, units of one frequency, restricted and excluded loss."""

from typing import Any

import numpy as np

from minigrok.analyses.fourier.result import Ablation, Result, Spectrum
from minigrok.plotting import COLOURS, Axes, Figure, panel_grid

LINES = ("-", "--", "-.", ":")


def figure(result: Result) -> Figure:
    """Spectra at the last snapshot, then what grows along training; grey: random bases, and the untrained network."""
    ends = [each for each in result.spectra if each.what == "embedding" or each.what.startswith("logits")]
    inner = [each for each in result.spectra if each not in ends]
    families = list(dict.fromkeys(each.what for each in inner))
    title = f"{result.run}: characters; vertical lines: grok steps"
    drawn, axes = panel_grid(len(ends) + len(families) + len(result.ablations), title, size=(4.4, 3))
    free = iter(axes)
    for each in ends:
        _spectrum(next(free), result, each)
    for what in families:
        _single(next(free), result, [each for each in inner if each.what == what])
    for ablation in result.ablations:
        _losses(next(free), result, ablation)
    return drawn


def _spectrum(axis: Axes, result: Result, each: Spectrum) -> None:
    k, last = np.arange(1, each.shares.shape[1] + 1), 100 * each.shares[-1]
    axis.bar(k, last, color="0.45", width=0.8, label=f"step {result.steps[-1]:,}")
    is_key = np.isin(k, each.keys)
    axis.bar(k[is_key], last[is_key], color=COLOURS[0], width=0.8, label=f"keys: {_sum(each, last)}")
    axis.plot(k, 100 * each.shares[0], color="black", linewidth=0.8, label="untrained")
    high = 100 * each.random_largest[2]
    if np.isfinite(high):
        axis.axhline(high, color="0.3", linestyle="--", linewidth=1.2, label="largest in random bases, upper end")
    if np.isfinite(top := max(float(last.max()), high if np.isfinite(high) else 0)):
        axis.set_ylim(0, 1.5 * top or 1)  # room for the legend
    axis.set_title(f"{each.what}, {each.by}: {100 * each.inside[-1]:.0f} % inside")
    axis.set_xlabel("frequency $k$")
    axis.set_ylabel("share of the variance (%)")
    axis.legend(fontsize=7)


def _sum(each: Spectrum, last: Any) -> str:
    return f"{len(each.keys)} with {last[each.keys - 1].sum():.0f} %" if len(each.keys) else "none"


def _single(axis: Axes, result: Result, spectra: list[Spectrum]) -> None:
    for i, each in enumerate(spectra):
        look: dict[str, Any] = {"color": COLOURS[i], "linestyle": LINES[i % 4]}
        axis.plot(result.steps, 100 * each.single, label=each.by, linewidth=1.5, **look)
        if np.isfinite(each.random_single[1:]).all():
            at = (1.04 + 0.02 * i) * result.steps[-1]
            axis.plot([at, at], 100 * each.random_single[1:], label="" if i else "its random bases", **_bar(COLOURS[i]))
    axis.set_ylim(0)
    axis.set_title(f"{spectra[0].what}: {spectra[0].channels} channels")
    _frame(axis, result, "share of a channel's best\nfrequency, mean (%)")


def _bar(colour: str) -> dict[str, Any]:
    """Look of a band at the last snapshot."""
    return {"color": colour, "linewidth": 2.5, "marker": "_", "markersize": 7}


def _losses(axis: Axes, result: Result, each: Ablation) -> None:
    has_keys = any(len(x.keys) for x in result.spectra if (x.what, x.by) == (f"logits {each.task}", each.by))
    names = {"all": "black", "keys alone": COLOURS[0], "without keys": COLOURS[1]}
    for i, (kind, colour) in enumerate(names.items()):
        axis.plot(result.steps, each.loss[:, i, 1], LINES[i], label=kind, linewidth=1.5, color=colour)
        axis.plot(result.steps, each.loss[:, i, 0], linewidth=0.9, color=colour, linestyle=":")
        ends = each.random_loss[1:, i, 1]
        if i and has_keys and np.isfinite(ends).all():
            label = f"{kind}, in random bases"
            axis.plot([1.04 * result.steps[-1]] * 2, ends, label=label, **_bar(colour))
    if (each.loss > 0).all():
        axis.set_yscale("log")
    axis.set_title(f"{each.task}, {each.by}: {'test (dotted: train)' if has_keys else 'no key frequency'}")
    _frame(axis, result, "cross-entropy (nats)")


def _frame(axis: Axes, result: Result, label: str) -> None:
    for step in result.groks.values():
        if step is not None:
            axis.axvline(step, color="0.3", linestyle=":", linewidth=1.2)
    axis.set_xlabel("optimiser step")
    axis.set_ylabel(label)
    axis.locator_params(axis="x", nbins=5)
    axis.legend(fontsize=7)
