"""Picture of the subspace analysis: norm shares against the step, with chance, and overlaps of bases."""

from typing import Any

import numpy as np

from minigrok.analyses.subspace.result import VECTORS, Result, Track
from minigrok.plotting import Axes, Figure, panel_grid, plain

DRAWN = 3  # runs in the picture at most: our choice
LOOKS: tuple[dict[str, Any], ...] = (
    {"linestyle": "-", "marker": "o", "color": "0.0"},
    {"linestyle": "--", "marker": "s", "color": "0.3"},
    {"linestyle": "-.", "marker": "^", "color": "0.45"},
    {"linestyle": ":", "marker": "D", "color": "0.6"},
)


def figure(result: Result) -> Figure:
    """One panel a run and basis, and one of angles a run."""
    tracks = result.tracks[:DRAWN]
    more = f", the first {DRAWN} of {len(result.tracks)} runs" if len(result.tracks) > DRAWN else ""
    panels = sum(len(t.shares) + bool(t.angles) for t in tracks)
    drawn, axes = panel_grid(panels, f"Share of vectors inside the trajectory's span{more}", size=(4.4, 3.2))
    free = iter(axes)
    for track in tracks:
        for kind in track.shares:
            _draw(next(free), track, kind)
        if track.angles:
            _overlaps(next(free), track)
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    return drawn


def _draw(axis: Axes, track: Track, kind: str) -> None:
    values = np.sqrt(track.shares[kind])  # (N, V, 5)
    for v, name in enumerate(VECTORS):
        axis.plot(track.steps, values[:, v, 0], label=name, linewidth=1.2, markersize=3.5, **LOOKS[v])
    axis.fill_between(
        track.steps, values[:, 1, 3], values[:, 1, 4], color="0.8", label="same blocks, update, 95 % of draws"
    )
    axis.plot(track.steps, values[:, 0, 1], color="0.5", linewidth=1, label="$\\sqrt{K/P}$", zorder=0)
    if (values[:, :, 0] > 0).any():
        axis.set_yscale("log", nonpositive="mask")
    axis.set_title(f"{plain(track.run)}: {kind}, K = {int(np.median(track.ranks[kind]))}")
    axis.set_xlabel("optimiser step")
    axis.set_ylabel("$|B^T x| \\, / \\, |x|$")


def _overlaps(axis: Axes, track: Track) -> None:
    names = [f"{each.basis}:\n{each.between}" for each in track.angles]
    for i, each in enumerate(track.angles):
        _, low, high = each.overlap_random
        axis.plot([low, high], [i, i], color="0.65", linewidth=6, label="random, 95 % of draws" if i == 0 else None)
        axis.plot(each.overlap, i, "o", color="black", label="measured" if i == 0 else None)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.set_xlim(1e-6, 1.5)
    axis.set_xscale("log")
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_title(f"{plain(track.run)}: overlap of bases")
    axis.set_xlabel("mean $\\cos^2$ of the principal angles")
    axis.legend(fontsize=7)
