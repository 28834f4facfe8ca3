"""The execution manifold: how much of a step stays in the span of the trajectory, and what chance does.

Bases (minigrok.geometry.bases; K columns)
    attention      top 2 (3 for three tasks) centred components of each attention matrix: the paper's manifold
    full           top 20 uncentred components of the full vector: the paper's gradient interventions
each from the whole run (the paper's: it knows the future), from the past up to the checkpoint, and from the whole of
another seed's run, if one is given with this one.
Vectors at a checkpoint t
    gradient       of the run's batch t + 1, unclipped
    update         -lr_t m / (sqrt(v) / sqrt(1 - beta2^t) + eps): what AdamW adds, without the decay
    step           update - lr wd theta
    next move      theta at the next snapshot minus theta_t
Snapshots hold no moments. AdamW is replayed on the run's own batches with empty moments, from the last snapshot at
least `warm` steps before t; then it is put at snapshot t and makes the step that is measured. After 100 steps
beta2^100 = 13 % of v would be older. "replay": distance of the replayed point to snapshot t over
|theta_t - theta_start|. With `warm` as long as the run, the replay begins at step 0 and is the run itself, to the same
bits: "replay" is 0.
Shares: energy s = |B^T x|^2 / |x|^2, norm sqrt(s), leakage 1 - s; beside K / P and sqrt(K / P) of random bases of R^P
and beside `draws` random bases of the same blocks. Principal angles: past (first half) and whole, first and second
half, this seed and the other, each beside random subspaces of the same blocks.
Protocol "paper": the bases of the whole run alone, and rho = sqrt(1 - s), within 0.01 % of 1 for every vector.
Source: arXiv:2602.18523 (code aa4e72f), bases; past, other seed, update, nulls: minigrok.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from minigrok.analyses.base import Analysis, Row, Work, snapshot_steps
from minigrok.analyses.shared import events
from minigrok.analyses.subspace_figure import figure
from minigrok.analyses.subspace_measure import FULL, VECTORS, Measurement, other_bases
from minigrok.checks import require
from minigrok.config import config_hash
from minigrok.engine import Array
from minigrok.storage.runs import Run


@dataclass(frozen=True)
class Settings:
    """Settings of subspace.

    Attributes
    ----------
    protocol : str   "exact" or "paper"
    most : int       checkpoints, evenly thinned (our choice: 12)
    rows : int       snapshots that bases are built from, at most (paper: all; 300: our choice)
    top : int        components of each attention matrix; 0: 2, or 3 for three tasks (paper)
    full : int       components of the full vector (paper: 20)
    warm : int       steps of AdamW before the one that is measured, at least (our choice: 100)
    draws : int      random bases (PAPER.md 3.1: 100 at least; 200: our choice)
    """

    protocol: str = "exact"
    most: int = 12
    rows: int = 300
    top: int = 0
    full: int = FULL
    warm: int = 100
    draws: int = 200

    def __post_init__(self) -> None:
        for name, least in (("most", 1), ("rows", 3), ("full", 1), ("warm", 0), ("draws", 100), ("top", 0)):
            require(getattr(self, name) >= least, name, f"at least {least}", getattr(self, name))


@dataclass(frozen=True)
class Comparison:
    """Principal angles between two bases; "random": mean, 2.5 % and 97.5 % of the draws, (3,).

    Attributes
    ----------
    basis, between : str
    overlap, smallest, largest : float     mean cos^2; degrees
    overlap_random, smallest_random : (3,)
    """

    basis: str
    between: str
    overlap: float
    smallest: float
    largest: float
    overlap_random: Array
    smallest_random: Array


@dataclass(frozen=True)
class Track:
    """One run at N checkpoints.

    Attributes
    ----------
    run, says : str
    steps : (N,) int
    size : int                       P
    shares : dict of (N, V, 5)       by basis: bases.Chance of each vector of VECTORS
    ranks : dict of (N,)             K by basis
    replay : (N,)                    distance of the replayed point to the snapshot, over the distance replayed
    angles : list of Comparison
    """

    run: str
    says: str
    steps: Array
    size: int
    shares: dict[str, Array]
    ranks: dict[str, Array]
    replay: Array
    angles: list[Comparison]


@dataclass(frozen=True)
class Result:
    """Tracks of all runs."""

    protocol: str
    tracks: list[Track]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return shares and angles of every run; the other seed of a run is the next one given that fits it."""
    return Result(
        settings.protocol,
        [_track(i, name, runs, settings, work) for i, name in enumerate(events.labels(runs))],
    )


def _track(i: int, name: str, runs: Sequence[Run], settings: Settings, work: Work) -> Track:
    run, names = runs[i], events.labels(runs)
    steps = snapshot_steps(run, 3, settings.most + 1)[1:]  # there is no past at the first
    own = replace(work, seed=run.config.seed)
    found = None if settings.protocol == "paper" else other_seed(runs, i)
    says = f"other seed: {names[found]}" if found is not None else "no other seed: give a second run"
    if settings.protocol == "paper":
        says = "rho is within 0.01 % of 1 for every vector: it cannot fail"
    bases = other_bases(runs[found], settings) if found is not None else {}
    measurement = Measurement(run, bases, settings, own, f"subspace/{config_hash(run.config)[:12]}")
    parts = own.parts([f"{i}-{step:06d}" for step in steps], lambda n: measurement.checkpoint(steps[n]))
    kinds = [key.removeprefix("share_") for key in parts[0] if key.startswith("share_")]
    return Track(
        name,
        says,
        np.array(steps),
        run.layout.size,
        {kind: np.stack([part[f"share_{kind}"] for part in parts]) for kind in kinds},
        {kind: np.array([int(part[f"rank_{kind}"]) for part in parts]) for kind in kinds},
        np.array([float(part["replay"]) for part in parts]),
        [] if settings.protocol == "paper" else [Comparison(*each) for each in measurement.angles()],
    )


def other_seed(runs: Sequence[Run], i: int) -> int | None:
    """Return the number of the next run, in a circle, with the layout of run i and another seed; None if none has."""
    for j in chain(range(i + 1, len(runs)), range(i)):
        is_alike = runs[j].layout == runs[i].layout and runs[j].config.task == runs[i].config.task
        if is_alike and runs[j].config.seed != runs[i].config.seed and len(runs[j].snapshots()) > 2:
            return j
    return None


def table(result: Result) -> list[Row]:
    """One row a run, basis and vector: medians over the checkpoints; then one a pair of bases."""
    rows = [_share_row(result, track, kind, v) for track in result.tracks for kind in track.shares for v in range(4)]
    return rows + [_angle_row(track, each) for track in result.tracks for each in track.angles]


EMPTY: Row = dict.fromkeys(
    (
        "run basis of K energy norm leakage sqrt(K/P) blocks low high ratio rho replay "
        "overlap overlap_random overlap_high smallest smallest_random smallest_low largest says"
    ).split()
)


def _share_row(result: Result, track: Track, kind: str, v: int) -> Row:
    values, ranks = track.shares[kind][:, v], track.ranks[kind]
    good = np.isfinite(values).all(axis=1)
    row = EMPTY | {"run": track.run, "basis": kind, "of": VECTORS[v], "K": int(np.median(ranks)), "says": track.says}
    if not good.any():
        return row | {"says": "no share: the basis or the vector is empty"}
    share, anywhere, blocks, low, high = np.median(values[good], axis=0).tolist()
    row |= {"energy": share, "norm": share**0.5, "leakage": 1 - share, "sqrt(K/P)": anywhere**0.5}
    row |= {"blocks": blocks**0.5, "low": low**0.5, "high": high**0.5}
    row["ratio"] = float(np.median(np.sqrt(values[good, 0] / values[good, 2]))) if (values[good, 2] > 0).all() else None
    row["rho"] = (1 - share) ** 0.5 if result.protocol == "paper" else None
    return row | {"replay": float(np.median(track.replay))}


def _angle_row(track: Track, each: Comparison) -> Row:
    row = EMPTY | {"run": track.run, "basis": each.basis, "of": each.between, "says": track.says}
    row |= {"overlap": each.overlap, "overlap_random": float(each.overlap_random[0])}
    row |= {"overlap_high": float(each.overlap_random[2]), "smallest": each.smallest, "largest": each.largest}
    row |= {"smallest_random": float(each.smallest_random[0]), "smallest_low": float(each.smallest_random[1])}
    return {name: None if value != value else value for name, value in row.items()}


def cost(runs: Sequence[Run], settings: Settings) -> str:
    """Count the replayed steps."""
    replayed = sum(min(len(run.snapshots()), settings.most) for run in runs) * max(settings.warm, 1)
    return f"at least {replayed:,} steps of training replayed, and bases of {settings.rows} snapshots at most"


ANALYSIS = Analysis(
    "subspace",
    "Do the optimiser's steps stay in the few directions of the trajectory, more than in random ones?",
    "arXiv:2602.18523, execution manifold; past, other seed, AdamW update, block-matched chance, angles: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
