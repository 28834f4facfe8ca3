"""Picture of the reconstruction analysis: accuracy against the number of directions, one panel a convention."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minigrok.analyses.reconstruction.result import Result, Track
from minigrok.geometry.reconstruction import MARK
from minigrok.plotting import COLOURS, MARKERS, Figure, panel_grid


def figure(result: Result) -> Figure:
    """Return a figure with a panel for each convention and null, the whole curve in each."""
    names = list(dict.fromkeys(track.name for track in result.tracks))
    title = f"{result.run}: step {result.step:,} rebuilt from k principal components"
    drawn, axes = panel_grid(len(names), title, columns=4, size=(4, 2.9))
    for axis, name in zip(axes, names, strict=True):
        draw_tracks(axis, [track for track in result.tracks if track.name == name], result.tasks)
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=3.5)
    return drawn


def draw_tracks(axis: Axes, tracks: Sequence[Track], tasks: Sequence[str]) -> None:
    """Draw the test accuracy of each task, the worst train accuracy, what lies outside, the mark and k*."""
    for i, track in enumerate(tracks):
        for k, task in enumerate(tasks):
            look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
            label = f"{task}, test" if i == 0 else None
            axis.plot(track.ks, 100 * track.test[:, k], markersize=3.5, linewidth=1.2, label=label, **look)
        train = 100 * track.train.min(axis=1)
        more: dict[str, Any] = {"color": "0.45", "linewidth": 1}
        axis.plot(track.ks, train, linestyle="--", label="worst task, train" if i == 0 else None, **more)
        label = "outside the k directions (% of squared norm)" if i == 0 else None
        axis.plot(track.ks, 100 * track.outside, linestyle=":", label=label, **more)
    axis.axhline(100 * MARK, color="0.2", linewidth=0.8, label="90 %")
    first, stays = ([track.crossing("test", lasting) for track in tracks] for lasting in (False, True))
    for crossing in first:
        if crossing is not None:
            axis.axvline(crossing, color="0.2", linewidth=0.8, linestyle="-.", label="$k^*$, first crossing")
    words = f"$k^*$ = {_list(first)}; stays from {_list(stays)}"
    axis.set_title(f"{tracks[0].name}\n{words}", fontsize=10)
    axis.set_ylim(-3, 103)
    axis.set_xlabel("directions k")
    axis.set_ylabel("accuracy (%)")


def _list(ks: Sequence[int | None]) -> str:
    """Return the k* of all draws."""
    return ", ".join(str(k) if k is not None else "none" for k in ks)
