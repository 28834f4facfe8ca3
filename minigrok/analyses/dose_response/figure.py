"""Picture of a dose-response: grok step of each task against dose, survival curves, shares of the plane.

An arm has a marker; a filled one grokked, an open one with an arrow was censored there, and an arrow down says that the
baseline was. Doses are categories. Runs of several seeds are shown relative to the baseline of their seed: the band of
repeats is about that.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, StrMethodFormatter

from minigrok.analyses.dose_response.result import BASELINE, Life, Result
from minigrok.plotting import COLOURS, MARKERS, Figure, panel_grid
from minigrok.statistics.survival import survival

MORE = (*MARKERS, "<", ">", "p", "h", "*", "d", "8")
LINES = ("-", "--", ":", "-.")
CURVES = 6  # drawn at most: our choice


def figure(result: Result) -> Figure:
    """Draw a panel a task, the survival curves, and the share of the update in the plane."""
    n = sum(len(group.lives) for group in result.groups)
    title = f"Interventions: {result.condition}, {n} runs, cut at step {result.horizon:,}"
    drawn, axes = panel_grid(len(result.tasks) + 2, title, columns=2, size=(7, 4.2))
    lives = [life for group in result.groups for life in group.lives]
    arms = [arm for arm in dict.fromkeys(life.arm for life in lives) if arm != BASELINE]
    for k, task in enumerate(result.tasks):
        _draw_task(axes[k], result, lives, arms, k)
        axes[k].set_title(f"{task}: one marker a run")
    _draw_shares(axes[-1], lives, arms)
    _draw_curves(axes[-2], result, lives, arms)
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9)
    return drawn


def _places(lives: Sequence[Life], arms: Sequence[str]) -> tuple[list[float], dict[int, float]]:
    """Doses in their order, and the place of each life: its dose's, shifted by its arm."""
    doses = sorted({life.dose for life in lives})
    shift = np.linspace(-0.33, 0.33, len(arms)) if len(arms) > 1 else [0.0]
    return doses, {
        id(life): doses.index(life.dose) + (0.0 if life.arm == BASELINE else float(shift[arms.index(life.arm)]))
        for life in lives
    }


def _look(arm: str, arms: Sequence[str]) -> dict[str, Any]:
    if arm == BASELINE:
        return {"marker": "_", "color": "black", "markersize": 16, "markeredgewidth": 2}
    i = arms.index(arm)
    return {"marker": MORE[i % len(MORE)], "color": COLOURS[i % len(COLOURS)], "markersize": 8}


def _axis(axis: Axes, doses: Sequence[float]) -> None:
    axis.set_xticks(range(len(doses)), [f"{dose:g}" for dose in doses])
    axis.set_xlim(-0.5, len(doses) - 0.5)
    axis.set_xlabel("dose s (as the arm defines it)")
    for i in range(1, len(doses)):
        axis.axvline(i - 0.5, color="0.9", linewidth=0.8, zorder=0)


def _draw_task(axis: Axes, result: Result, lives: Sequence[Life], arms: Sequence[str], k: int) -> None:
    doses, places = _places(lives, arms)
    base = _baselines(lives, k)
    late = {life.seed for life in lives if life.arm == BASELINE and not life.happened[k]}
    several = len({life.seed for life in lives}) > 1 and bool(base)
    centre = 1.0 if several else next(iter(base.values()), None)
    if centre:
        axis.axhline(centre, color="0.4", linestyle="--", linewidth=1, label="mean of the seed's baseline")
        repeats = min(sum((x.arm, x.seed) == (BASELINE, seed) for x in lives) for seed in base)
        low, high = result.repeat_band(repeats)
        if low < high:
            axis.axhspan(centre * low, centre * high, color="0.87", zorder=0, label="a repeat of the seed, 95 %")
    for arm in [BASELINE, *arms]:
        axis.plot([], [], linestyle="none", label=arm, **_look(arm, arms))
    axis.plot([], [], "o", color="black", markerfacecolor="white", label="censored: later than that")
    for life in lives:
        if several and life.seed not in base:
            continue
        look, x, y = _look(life.arm, arms), places[id(life)], life.times[k] / (base[life.seed] if several else 1)
        if not life.happened[k]:
            look |= {"markerfacecolor": "white"}
        for is_open, end in ((not life.happened[k], 1.25), (several and life.seed in late, 0.8)):
            if is_open:
                axis.annotate("", (x, end * y), (x, y), arrowprops={"arrowstyle": "->", "color": "black", "shrinkA": 4})
        axis.plot([x], [y], linestyle="none", **look)
    _log(axis, "{x:.3g}" if several else "{x:,.0f}")
    axis.set_ylabel("grok step / the seed's baseline" if several else "grok step")
    if not several:
        axis.axhline(result.horizon, color="0.2", linestyle=":", linewidth=1)
        axis.set_ylim(top=1.4 * result.horizon)
    _axis(axis, doses)


def _log(axis: Axes, form: str) -> None:
    """Logarithmic axis with plain numbers at 1, 2 and 5, and at every digit where less than a decade is seen."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.yaxis.set_minor_locator(LogLocator(subs=(2, 5) if high > 10 * low else range(1, 10)))
    for formatter in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        formatter(StrMethodFormatter(form))


def _baselines(lives: Sequence[Life], k: int) -> dict[int, float]:
    """Geometric mean of a task's grok steps in the baseline, seed by seed; a censored one counts with its end."""
    seeds = {life.seed for life in lives}
    known = {s: [x.times[k] for x in lives if (x.arm, x.seed) == (BASELINE, s)] for s in seeds}
    return {seed: float(np.exp(np.log(times).mean())) for seed, times in known.items() if times}


def _draw_curves(axis: Axes, result: Result, lives: Sequence[Life], arms: Sequence[str]) -> None:
    """Kaplan-Meier curves of arm and dose where a group has several runs, else of arms with all their doses."""
    several = any(len(group.lives) > 1 and group.arm != BASELINE for group in result.groups)
    pools = {f"{g.arm} {g.dose:g}" if g.dose else g.arm: g.lives for g in result.groups} if several else {}
    if not several:
        for arm in [BASELINE, *arms]:
            members = [life for life in lives if life.arm == arm]
            pools[arm + (", all doses" if len({life.dose for life in members}) > 1 else "")] = members
    shown = sorted((name for name in pools if pools[name]), key=lambda name: (name != BASELINE, -len(pools[name])))
    for i, name in enumerate(shown[:CURVES]):
        members = pools[name]
        curve = survival(*(np.array([getattr(x, field)[-1] for x in members]) for field in ("times", "happened")))
        t, S = np.concatenate([[0], curve.times]), np.concatenate([[1], curve.survival])
        colour = "black" if name == BASELINE else COLOURS[(i - 1) % len(COLOURS)]
        look: dict[str, Any] = {"color": colour, "linestyle": LINES[i % len(LINES)]}
        line = axis.step(t, S, where="post", label=f"{name} (n = {len(members)})", **look)[0]
        ends = sorted(life.times[-1] for life in members if not life.happened[-1])
        axis.plot(ends, [curve.at(t) for t in ends], "|", color=line.get_color(), markersize=10)
    more = f", {CURVES} of {len(shown)}" if len(shown) > CURVES else ""
    axis.set_title(f"not yet grokked (Kaplan-Meier; bar: censored){more}")
    axis.set_xlabel("optimiser step")
    axis.set_ylabel("share of runs")
    axis.set_ylim(-0.03, 1.03)
    axis.legend(fontsize=8, loc="best")


def _draw_shares(axis: Axes, lives: Sequence[Life], arms: Sequence[str]) -> None:
    doses, places = _places(lives, arms)
    for life in lives:
        if (share := life.measures.get("update inside", np.nan)) > 0:
            axis.plot([places[id(life)]], [share], linestyle="none", **_look(life.arm, arms))
    axis.set_title("AdamW's update in the arm's own plane, median")
    axis.set_ylabel("share of $|u|^2$")
    if axis.has_data():
        _log(axis, "{x:.2g}")
    _axis(axis, doses)
