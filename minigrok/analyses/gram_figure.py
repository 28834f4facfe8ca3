"""Picture of the rolling Gram matrix: g23, its share and R of each run, with the random walk's band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigrok.engine import Array
from minigrok.plotting import Axes, Figure, panel_grid

if TYPE_CHECKING:
    from minigrok.analyses.gram import Result, Track

DRAWN = 6  # runs in the picture at most: our choice


def figure(result: Result) -> Figure:
    """Three panels a run: g23, share, R against the last step of the window."""
    tracks = [track for track in result.tracks if len(track.ends)]
    more = f", the first {DRAWN} of {len(tracks)} runs" if len(tracks) > DRAWN else ""
    drawn, axes = panel_grid(3 * len(tracks[:DRAWN]), f"Spectrum of updates in rolling windows{more}")
    for i, track in enumerate(tracks[:DRAWN]):
        w, walk = track.windows, track.walk
        raw, share, ratio = axes[3 * i : 3 * i + 3]
        _draw(raw, track, w.g23, walk.g23 if walk else None, "$S_2^2 - S_3^2$ (weights$^2$)")
        if (w.g23 > 0).any():
            raw.set_yscale("log", nonpositive="mask")
        _draw(share, track, w.share, walk.share if walk else None, "share of $\\Sigma S^2$")
        share.set_ylim(0, max(0.1, 1.1 * float(np.nan_to_num(w.share).max())))
        _draw(ratio, track, w.R, walk.R if walk else None, "$R = S_{k*} / S_{k*+1}$")
        raw.set_title(f"{track.run}: " + ("groks" if track.grok is not None else "never groks"))
    axes[0].legend(loc="best", fontsize=8)
    return drawn


def _draw(axis: Axes, track: Track, values: Array, null: Array | None, label: str) -> None:
    if null is not None:
        axis.fill_between(track.ends, *null, color="0.8", label="random walk, 95 %", zorder=0)
    axis.plot(track.ends, np.where(np.isfinite(values), values, np.nan), color="black", label="measured")
    if track.at is not None:
        axis.axvline(track.at, color="0.35", linestyle="--", label="grok" if track.grok is not None else "matched step")
    axis.set_xlabel("last step of the window")
    axis.set_ylabel(label)
