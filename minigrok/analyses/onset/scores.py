"""How well an event foretells grokking, over runs: each score with what chance gives.

One seed of a condition is one observation. t is the run's grok step (first task), o the step of the event, both in
optimiser steps.
    before      runs with o < t; a run without the event counts as not before
    by chance   runs before that an o uniform on the window that the detector searches would give, the sum of
                P(o < t) = (t - start) / (end - start). A description, no test: since a run ends when it has grokked,
                it is near all runs, and "all before" is what chance gives
    in common   runs before, if each event is sought in what all runs of the condition that grok have in common: D and
                evaluations up to the last step of the shortest of them. There no detector knows when its own run ends
    p exchange  share of the exchanges of grok steps between runs of a condition in which as many or more are before
                (minigrok.statistics.exchange). It asks whether a run's own grok step says more of its onset than
                another's; a rise that all runs share is no evidence. None, if no exchange could make it .05
    lead        t - o
    AUC         P(a run that groks has the earlier event than one that does not); never counts as latest
    rho         rank correlation of o and t within the runs of one condition, pooled over conditions; o of what they
                have in common, as o of the whole run is in step with its end, and so with t, for that reason alone.
                A run without the event there counts as latest
    gamma       o ~ t^gamma;  alpha: lead ~ t^alpha, both of whole runs; none unless every o and every lead is positive.
                A constant o gives gamma = 0 and alpha > 1: alpha says nothing unless it lies outside the band that
                shuffling o among the runs gives
Thinning D to `most` snapshots leaves wider gaps in a longer run: give each run all of its snapshots for p and rho.
A detector whose window is a share of the run has o in step with t for that reason alone: v1 and v2. The event "first
sample" shows how much gamma that makes.
Source: shuffled onsets, exchanges, competing events: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses.base import median
from minigrok.analyses.onset.result import SHUFFLES, Score
from minigrok.engine import Array
from minigrok.statistics.exchange import EXCHANGES, SIGNIFICANT, least_p, p_value
from minigrok.statistics.intervals import band
from minigrok.statistics.small_samples import auc, exponent, rank_test


@dataclass(frozen=True)
class Event:
    """One event in one run; nan for what there is not.

    Attributes
    ----------
    condition : str        runs of one condition differ by their seed
    onset, known : float   step of the event; step at which it could have been known
    grok : float           step at which the first task grokked
    chance : float         P(o < t) for a uniform o
    common : float         step of the event in what the runs of the condition have in common
    """

    condition: str
    onset: float
    known: float
    grok: float
    chance: float
    common: float


def chance_before(grok: float, start: float, end: float) -> float:
    """Return P(o < t) for o uniform on [start, end]; nan without a window."""
    return float(np.clip((grok - start) / (end - start), 0, 1)) if end > start else float("nan")


def score(events: Sequence[Event], rng: np.random.Generator) -> Score:
    """Return the scores of an event over runs.

    Parameters
    ----------
    events : sequence of Event      one a run
    rng : numpy Generator           for the shuffles and exchanges, and for permutations of more than 8 runs
    """
    groks = [e for e in events if not np.isnan(e.grok)]
    controls = [e for e in events if np.isnan(e.grok)]
    both = [e for e in groks if not np.isnan(e.onset)]
    t, o = np.array([e.grok for e in both]), np.array([e.onset for e in both])
    ranks = rank_test([(np.nan_to_num(common, nan=np.inf), grok) for common, grok in _groups(groks)], rng)
    late = [[np.nan_to_num(e.onset, nan=np.inf) for e in some] for some in (groks, controls)]
    before, common = (sum(bool(getattr(e, name) < e.grok) for e in groks) for name in ("onset", "common"))
    drawn = _exchanged_counts(groks, rng)
    least = least_p(common, drawn)
    return Score(
        len(groks),
        before,
        len(controls),
        sum(not np.isnan(e.onset) for e in controls),
        median(t - o),
        median((t - o) / t),
        median(t - np.array([e.known for e in both])),
        float(np.sum([e.chance for e in groks])) if groks else float("nan"),
        common,
        np.bincount(drawn, minlength=len(groks) + 1) / len(drawn),
        p_value(common, drawn) if least <= SIGNIFICANT else float("nan"),
        least,
        auc(*late),
        ranks.rho,
        ranks.n,
        ranks.p,
        exponent(t, o),
        exponent(t, t - o),
        alpha_null(t, o, rng),
    )


def alpha_null(t: Array, o: Array, rng: np.random.Generator) -> Array:
    """Return the band (2,) of alpha with the onsets shuffled among the runs; nan where a shuffle has no alpha."""
    return band(np.array([exponent(t, t - rng.permutation(o)) for _ in range(SHUFFLES)]))


def _exchanged_counts(events: list[Event], rng: np.random.Generator) -> Array:
    """Return how many events are before the grok step in each exchange, (EXCHANGES,) int."""
    counts = np.zeros(EXCHANGES, np.int64)
    for common, grok in _groups(events):
        counts += (common < rng.permuted(np.tile(grok, (EXCHANGES, 1)), axis=1)).sum(axis=1)
    return counts


def _groups(events: list[Event]) -> list[tuple[Array, Array]]:
    """Return the onsets in common and the grok steps of each condition."""
    names = dict.fromkeys(e.condition for e in events)
    members = [[e for e in events if e.condition == name] for name in names]
    return [(np.array([e.common for e in some]), np.array([e.grok for e in some])) for some in members]
