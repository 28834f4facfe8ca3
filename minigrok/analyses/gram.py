"""Rolling Gram matrix of the updates of the attention weights: g23, R, k*, and the control that the paper lacks.

Definitions of g23, share, R, k* and their null: minigrok.geometry.updates. A window belongs to the step at which it
ends.
    groks at      first evaluation with every test accuracy >= .95
    g23 early     largest g23 of the windows up to a step       g23 at     that of the last of them
    decline       early over at; the paper calls more than 1.5 declined. It is 1 or more for any motion, and g23 falls
                  with the size of the updates alone.
    R             mean over the same windows
    share decline the same of share = g23 / sum S^2, free of that size
    first / last  share of the first window over that of the last: can be below 1
A run that never groks is scored at a matched step: the setting, or the median grok step of the runs given with it, or
the end of the run if that is earlier.
Nulls, `draws` each: random walk with steps of the measured lengths (its band: minigrok.statistics.intervals; "covers":
the chance that one more draw lies inside); the measured updates in a random order (p order, p share: share of orders,
the measured one included, whose decline is at least the measured one, minigrok.statistics.exchange). A decline, a mean
R or a share of k* exists only if every window has it; an order without a decline counts as one of a larger decline.
Windows across a gap in the log are left out.
Runs may differ in weight decay and seed: a matched step says nothing of runs that differ in more.
Protocol "paper": windows of checkpoints; for one task of the attention log, cut to its first 50 entries, the 20 on
either side of the grok and the last 15. Early g23 and R are of the windows before the grok, or of all if it never
groks. Two defects of the original are reproduced, and the table says so:
    a run that never groks has no decline, whatever its updates do: "1 of 18 controls" counts those that reached .95
    windows straddle the gaps of the cut log: one giant update in controls of one task, which inflates R
Source: arXiv:2602.18523, Gram matrix table (code aa4e72f); matched control, share and nulls: minigrok.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Analysis, Cost, Draws, Protocol, Row, Work, plain_row
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import of_snapshots
from minigrok.analyses.shared.trajectories import attention_matrices, joined
from minigrok.analyses.shared.units import require_alike
from minigrok.checks import Between
from minigrok.config import config_hash
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.geometry import updates
from minigrok.plotting import Axes, Figure, panel_grid, plain
from minigrok.statistics.exchange import p_value
from minigrok.statistics.intervals import band, coverage
from minigrok.storage.cadence import attention_log, checkpoints
from minigrok.storage.runs import Run

EARLY, AROUND, LATE = 50, 20, 15  # entries of a one-task log that the paper keeps
DRAWN = 6  # runs in the picture at most: our choice
NO_P = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of gram.

    Attributes
    ----------
    protocol : str         "exact", or "paper": no decline for a run that never groks
    window : int           updates in a window (paper: 10); g23 needs three
    matched_step : int     score runs that never grok at this step; 0: median grok step of the other runs
    draws : int            of each null (our choice: 200)
    """

    name = "gram"
    window: Annotated[int, Between(3, MANY)] = 10
    matched_step: Annotated[int, Between(0, MANY)] = 0
    draws: Draws = 200


@dataclass(frozen=True)
class Null:
    """What a random walk with the measured lengths shows.

    Attributes
    ----------
    g23, share, R : (2, W)   band of each window
    mean_R, first_k, decline, share_decline : (draws,)
        over the windows up to the scored step: mean R, share with k* = 1, and the two declines; nan: none
    """

    g23: Array
    share: Array
    R: Array
    mean_R: Array
    first_k: Array
    decline: Array
    share_decline: Array


@dataclass(frozen=True)
class Track:
    """The windows of one run.

    Attributes
    ----------
    run, says : str
    every : int              steps between snapshots; scores of runs with another spacing do not compare
    grok : int or None       step at which every task had .95
    at : int or None         step at which the run is scored
    ends : (W,) int          last step of each window
    scored : int             windows up to `at`
    early : int              windows that early g23 and R are of: those, but under "paper" the ones before the grok
    windows : Windows
    walk : Null or None      None: no window; over all windows if the run is not scored
    p_order, p_share_order : float             permutation of time; nan: no decline
    early_g23, at_g23, decline, R : float      as the table has them; nan: none
    """

    run: str
    says: str
    every: int
    grok: int | None
    at: int | None
    ends: Array
    scored: int
    early: int
    windows: updates.Windows
    walk: Null | None
    p_order: float
    p_share_order: float
    early_g23: float
    at_g23: float
    decline: float
    R: float


@dataclass(frozen=True)
class Result:
    """Tracks of all runs, and the draws behind each of their bands and p."""

    protocol: str
    draws: int
    tracks: list[Track]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return scores of every window of every run, and of the same windows of the nulls.

    Raises
    ------
    RunFolderError
        No run has a window, or runs differ in other settings than weight decay.
    """
    names = events.labels(runs)
    require_alike(runs, names, ["optimiser.weight_decay"], "weight decay")
    groks = [events.all_reached(events.evaluations(run), run.config.task.operations, 0.95) for run in runs]
    parts = work.parts([f"gram-{i}" for i in range(len(runs))], lambda i: _gram(runs[i], settings.protocol, groks[i]))
    found = [step for step in groks if step is not None]
    matched = settings.matched_step or (int(np.median(found)) if found else None)
    streams = [_streams(work, run) for run in runs]
    each = zip(names, streams, parts, groks, strict=True)
    tracks = [_track(name, stream, part, grok, matched, settings) for name, stream, part, grok in each]
    if not any(len(track.ends) for track in tracks):
        required = f"{settings.window + 1} snapshots at equal distances in one run at least"
        raise RunFolderError(required, tracks[0].says, "train longer, or set a shorter window")
    return Result(settings.protocol, settings.draws, tracks)


def _streams(work: Work, run: Run) -> Callable[[str], np.random.Generator]:
    """Named streams that belong to the run: whatever runs stand beside it, its nulls are the same."""
    own, key = replace(work, seed=run.config.seed), config_hash(run.config)[:12]
    return lambda name: own.rng(f"gram/{name}/{key}")


def _gram(run: Run, protocol: Protocol, grok: int | None) -> dict[str, Array]:
    """Gram matrix of the updates between the snapshots of a protocol.

    Memory: S n numbers of the saved dtype; 1500 snapshots of the dual model's 131,072 attention weights take 0.8 GB.
    """
    steps, places = np.array(_steps(run, protocol, grok), np.int64), attention_matrices(run).values()
    if len(steps) < 2:
        return {"steps": steps, "G": np.zeros((0, 0)), "n": np.array(0)}
    W = joined(run, steps, list(places))
    return {"steps": steps, "G": updates.gram(W), "n": np.array(W.shape[1])}


def _steps(run: Run, protocol: Protocol, grok: int | None) -> list[int]:
    if protocol == "exact" or len(run.config.task.operations) > 1:
        return checkpoints(run, protocol)
    return paper_cut(attention_log(run, protocol), grok)


def paper_cut(log: Sequence[int], grok: int | None) -> list[int]:
    """Return what the paper keeps of the log of a run of one task that groks at a step, or never."""
    kept = {*log[:EARLY], *log[-LATE:]}
    if grok is not None and log:
        nearest = int(np.argmin(np.abs(np.array(log) - grok)))
        kept |= {*log[max(nearest - AROUND, 0) : nearest + AROUND + 1]}
    return sorted(kept)


def _track(
    name: str,
    stream: Callable[[str], np.random.Generator],
    part: dict[str, Array],
    grok: int | None,
    matched: int | None,
    settings: Settings,
) -> Track:
    steps, G, width = part["steps"], part["G"], settings.window
    is_paper = settings.protocol == "paper"
    starts = np.arange(max(len(G) - width + 1, 0)) if is_paper else updates.contiguous(steps, width)[1]
    ends = steps[starts + width] if len(starts) else np.zeros(0, np.int64)
    if not len(starts):
        says = f"{len(steps)} snapshots: no window of {width} updates at equal distances"
        nothing = updates.Windows(*(np.zeros(0) for _ in range(4)))
        return Track(name, says, 0, grok, None, ends, 0, 0, nothing, None, *NO_P, *_scores(nothing, 0, 0))
    windows, every = updates.score(G, starts, width), int(steps[starts[0] + 1] - steps[starts[0]])
    at, says = _scored_at(grok, matched, int(ends[-1]), settings.protocol)
    count = int((ends <= at).sum()) if at is not None else 0
    if at is not None and count < 2:
        count, says = 0, f"fewer than two windows up to step {at}"
    before = int((ends < grok).sum()) if is_paper and grok is not None else 0
    early = (before or len(ends)) if is_paper else count
    walk = _walk(G, int(part["n"]), starts, count or len(starts), settings, stream("walk"))
    p = _order(G, starts[:count], windows, settings, stream("order")) if count else NO_P
    return Track(name, says, every, grok, at, ends, count, early, windows, walk, *p, *_scores(windows, early, count))


def _scores(windows: updates.Windows, early: int, count: int) -> tuple[float, float, float, float]:
    """Largest early g23, the last one that is scored, their ratio, and the mean early R; nan: none."""
    g23, R = windows.g23[:early], windows.R[:early]
    first = float(np.nanmax(g23)) if np.isfinite(g23).any() else np.nan
    last = float(windows.g23[count - 1]) if count else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        return first, last, float(np.divide(first, last)), float(R.mean()) if len(R) else np.nan


def _scored_at(grok: int | None, matched: int | None, last: int, protocol: str) -> tuple[int | None, str]:
    """Step at which a run is scored, and in words why there."""
    if grok is not None:
        return grok, "groks"
    if protocol == "paper":
        return None, "never groks: the paper computes no decline"
    if matched is None:
        return None, "never groks: add a run that groks, or set matched_step"
    if last < matched:
        return last, f"control, ends before step {matched}"
    return matched, "control at the matched step"


def _walk(G: Array, n: int, starts: Array, count: int, settings: Settings, rng: np.random.Generator) -> Null:
    lengths = np.sqrt(np.diag(G))
    drawn = [updates.score(updates.walk_gram(lengths, n, rng), starts, settings.window) for _ in range(settings.draws)]
    bands = [band(np.array([getattr(each, name) for each in drawn])) for name in ("g23", "share", "R")]
    scores = {
        "mean_R": [each.R[:count].mean() for each in drawn],
        "first_k": [updates.first_share(each.k[:count]) for each in drawn],
        "decline": [updates.decline(each.g23[:count]) for each in drawn],
        "share_decline": [updates.decline(each.share[:count]) for each in drawn],
    }
    return Null(*bands, **{name: np.array(values) for name, values in scores.items()})


def _order(
    G: Array, starts: Array, windows: updates.Windows, settings: Settings, rng: np.random.Generator
) -> tuple[float, float]:
    """Permutation p of the two declines, over orders of the updates that lie in the windows."""
    rows = np.unique(starts[:, None] + np.arange(settings.window))
    inside, starts = G[np.ix_(rows, rows)], np.searchsorted(rows, starts)
    count = len(starts)
    others = [updates.score(updates.shuffled(inside, rng), starts, settings.window) for _ in range(settings.draws)]
    g23, share = ([updates.decline(getattr(each, name)) for each in others] for name in ("g23", "share"))
    return (
        p_value(updates.decline(windows.g23[:count]), np.array(g23)),
        p_value(updates.decline(windows.share[:count]), np.array(share)),
    )


def table(result: Result) -> list[Row]:
    """One row a run; the random walk's values are medians of the draws, for R the upper end of their band."""
    return [_row(result, track) for track in result.tracks]


def _row(result: Result, track: Track) -> Row:
    n, w, walk = track.scored, track.windows, track.walk if track.scored else None
    row: Row = {
        "run": track.run,
        "groks": track.grok,
        "scored": track.at,
        "windows": n,
        "g23 early": track.early_g23,
        "g23 at": track.at_g23,
        "decline": track.decline,
        "walk decline": float(np.median(walk.decline)) if walk else None,
        "p order": track.p_order,
        "share decline": updates.decline(w.share[:n]) if n else None,
        "walk share d.": float(np.median(walk.share_decline)) if walk else None,
        "p share": track.p_share_order,
        "first / last": float(w.share[0] / w.share[n - 1]) if n and w.share[n - 1] > 0 else None,
        "R": track.R,
        "walk R high": float(band(track.walk.mean_R)[1]) if track.walk and track.early else None,
        "k* last": int(w.k[-1]) if len(w.k) and np.isfinite(w.k[-1]) else None,
        "k* = 1 %": 100 * updates.first_share(w.k[:n]) if n else None,
        "walk k* = 1 %": float(100 * walk.first_k.mean()) if walk else None,
        "draws": result.draws,
        "covers": coverage(result.draws),
        "says": track.says,
    }
    return plain_row(row)


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
        raw.set_title(f"{plain(track.run)}: " + ("groks" if track.grok is not None else "never groks"))
    axes[0].legend(loc="best", fontsize=8)
    return drawn


def _draw(axis: Axes, track: Track, values: Array, null: Array | None, label: str) -> None:
    if null is not None and np.isfinite(null).any():
        axis.fill_between(track.ends, *null, color="0.8", label="random walk, 95 % of draws", zorder=0)
    axis.plot(track.ends, np.where(np.isfinite(values), values, np.nan), color="black", label="measured")
    if track.at is not None:
        axis.axvline(track.at, color="0.35", linestyle="--", label="grok" if track.grok is not None else "matched step")
    axis.set_xlabel("last step of the window")
    axis.set_ylabel(label)


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the snapshots of all runs."""
    count = sum(len(run.snapshots()) for run in runs)
    return of_snapshots(runs[:1], count, 0.01)


ANALYSIS = Analysis(
    "Do the updates narrow to one direction before grokking, more than in runs that never grok?",
    "arXiv:2602.18523, Gram matrix of updates; matched control, share and nulls: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
