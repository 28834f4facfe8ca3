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
half, this seed and the other, each beside random subspaces of the same blocks. low and high are bands of the draws
(minigrok.statistics.intervals), for shares medians over the checkpoints that have one; "covers" is the chance that one
more draw at one checkpoint lies inside. The other seed is a run of the same condition (minigrok.analyses.shared.units).
Protocol "paper": the bases of the whole run alone, attention from the attention log, full from 100 checkpoints at
most; and rho = sqrt(1 - s), within 0.01 % of 1 for every vector.
Source: arXiv:2602.18523 (code aa4e72f), bases; past, other seed, update, nulls: minigrok.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from minigrok.analyses.base import Analysis, Cost, Work, checkpoint_steps
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import START, host, measured_seconds
from minigrok.analyses.shared.units import units
from minigrok.analyses.subspace.figure import figure
from minigrok.analyses.subspace.measure import Measurement, other_bases
from minigrok.analyses.subspace.result import Result, Settings, Track
from minigrok.analyses.subspace.table import table
from minigrok.config import config_hash
from minigrok.storage.runs import Run


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return shares and angles of every run; the other seed of a run is the next one given that fits it."""
    tracks = [_track(i, name, runs, settings, work) for i, name in enumerate(events.labels(runs))]
    return Result(settings.protocol, settings.draws, tracks)


def _track(i: int, name: str, runs: Sequence[Run], settings: Settings, work: Work) -> Track:
    run, names = runs[i], events.labels(runs)
    steps = checkpoint_steps(run, settings.protocol, 3, settings.most + 1)[1:]  # there is no past at the first
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
        [] if settings.protocol == "paper" else list(measurement.angles()),
    )


def other_seed(runs: Sequence[Run], i: int) -> int | None:
    """Return the number of the next run, in a circle, of run i's condition and another seed; None if none has."""
    each = units(runs)
    for j in chain(range(i + 1, len(runs)), range(i)):
        is_alike = each[j].condition == each[i].condition
        if is_alike and each[j].seed != each[i].seed and len(runs[j].snapshots()) > 2:
            return j
    return None


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the replayed steps, and the shares of vectors in random bases at each snapshot."""
    each = [max(1, min(settings.warm, run.config.train.max_steps)) for run in runs]
    history = max(min(len(run.snapshots()), settings.own(settings.history, 300)) for run in runs)
    snapshots = [min(len(run.snapshots()), settings.most) for run in runs]
    replayed = sum(n * count for n, count in zip(each, snapshots, strict=True))
    words = f"at least {replayed:,} steps of training replayed, and bases of {history} snapshots"
    return Cost(host(START) + host(4.0 * sum(snapshots), runs[:1]) + replayed * measured_seconds(runs[0]).grad32, words)


ANALYSIS = Analysis(
    "Do the optimiser's steps stay in the few directions of the trajectory, more than in random ones?",
    "arXiv:2602.18523, execution manifold; past, other seed, AdamW update, block-matched chance, angles: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
