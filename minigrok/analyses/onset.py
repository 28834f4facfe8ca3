"""Onset of the commutator defect, and whether it foretells grokking better than events that cannot miss.

Onset of D by the paper's detectors (minigrok.statistics.detectors), beside events that say nothing about D:
    memorised              train accuracy of every task above .99
    half norm              parameter norm half-way between its first and its last value (known at the end only)
    loss < 0.1             train loss of every task, in nats
    first sample           the first D that v2 may return, at 25 % of the run: an onset without looking at D
    random onset           expected values for an onset uniform on v2's window
Grok step: the first task's, by two definitions, 0.98 x 3 (two tasks in the paper) and first 0.90 (three tasks).
Runs that never grok are the controls: an onset in them is a false alarm.
Threshold family: onset = first D > factor x (median of the first three, at least 0.1) and D > floor, from the third on;
lead, share before the grok step, and false alarms are curves over factor and floor.
What each score means, and its nulls: minigrok.analyses.onset_scores.
Source: arXiv:2602.18523 (detectors, code aa4e72f); baselines, nulls and family: minigrok.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from minigrok.analyses.base import Analysis, Row, Work
from minigrok.analyses.onset_figure import figure
from minigrok.analyses.onset_scores import Event, Score, chance_before, score
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import duration, measured_seconds
from minigrok.analyses.shared.defect import Trace, finished, trace_of
from minigrok.checks import at_least, check_types
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.statistics.detectors import DETECTORS, Detector, Onset, shifts, spike
from minigrok.statistics.small_samples import LEAST
from minigrok.storage.milestones import first
from minigrok.storage.runs import Run

FACTORS = (2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
FLOORS = (0.0, 20.0, 100.0)  # the paper's spike: factor 10, floor 20
LOSS = 0.1
FIRST, RANDOM = "first sample", "random onset"


@dataclass(frozen=True)
class Settings:
    """Settings of onset.

    Attributes
    ----------
    protocol : str    "exact"; "paper": D by float32 differences
    most : int        at most this many snapshots, evenly thinned (paper: 120)
    repeats : int     pairs of batches at a snapshot (paper: 9 for two tasks, 5 for three)
    fresh : bool      measure D even where the run has a result of `commutator`, whose checkpoints may be others
    """

    protocol: str = "exact"
    most: int = 120
    repeats: int = 5
    fresh: bool = False

    def __post_init__(self) -> None:
        check_types(self, "onset")
        at_least(3, self, "onset", "most")  # the baseline of every detector
        at_least(1, self, "onset", "repeats")


@dataclass(frozen=True)
class RunOnsets:
    """One run.

    Attributes
    ----------
    run, condition : str
    trace : Trace
    last_step : int
    groks : dict of definition to step or None        of the first task
    onsets : dict of event to Onset
    shifted : dict of detector to (S,) float          onsets of the circular shifts, nan: none
    """

    run: str
    condition: str
    trace: Trace
    last_step: int
    groks: dict[str, int | None]
    onsets: dict[str, Onset]
    shifted: dict[str, Array]


@dataclass(frozen=True)
class Family:
    """Scores of the threshold family, (factors, floors); nan: no run has the event.

    Attributes
    ----------
    lead : steps, median         before, chance : share of the runs that grok        alarms : share of the controls
    """

    lead: Array
    before: Array
    chance: Array
    alarms: Array


@dataclass(frozen=True)
class Result:
    """Runs, scores[definition][event], families[definition], and runs without a trace."""

    runs: list[RunOnsets]
    left_out: list[str]
    factors: Array
    floors: Array
    scores: dict[str, dict[str, Score]]
    families: dict[str, Family]


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the onsets of every run, and every score.

    Raises
    ------
    RunFolderError
        No run has three snapshots, or one has no evaluation.
    """
    names = events.labels(runs)
    short = [name for run, name in zip(runs, names, strict=True) if len(run.snapshots()) < 3]
    found = [_run(run, name, settings, work) for run, name in zip(runs, names, strict=True) if name not in short]
    if not found:
        got = ", ".join(f"{name}: {len(run.snapshots())}" for run, name in zip(runs, names, strict=True))
        raise RunFolderError("a run with three snapshots", got, "train longer: minigrok resume")
    scores, families = {}, {}
    for definition in events.GROKS:
        rng = work.rng(f"onset/{definition}")
        scores[definition] = {
            name: score([_event(r, name, definition) for r in found], rng) for name in found[0].onsets
        }
        families[definition] = _family(found, definition)
    return Result(found, short, np.array(FACTORS), np.array(FLOORS), scores, families)


def _run(run: Run, name: str, settings: Settings, work: Work) -> RunOnsets:
    columns, tasks = events.evaluations(run), run.config.task.operations
    trace = trace_of(run, work, settings.protocol, settings.most, settings.repeats, settings.fresh)
    groks: dict[str, int | None] = {}
    for definition, (level, patience) in events.GROKS.items():
        reached = [events.reached(columns, task, level, patience) for task in tasks]
        groks[definition] = min((step for step in reached if step is not None), default=None)
    last = max(int(columns["step"][-1]), int(trace.steps[-1]))
    onsets = {name: detector(trace.steps, trace.D) for name, detector in DETECTORS.items()}
    onsets |= _trivial(columns, tasks, last, onsets["v2"])
    shifted = {
        name: np.array([np.nan if o.step is None else o.step for o in shifts(trace.steps, trace.D, detector)])
        for name, detector in DETECTORS.items()
    }
    return RunOnsets(name, events.condition(run.config), trace, last, groks, onsets, shifted)


def _trivial(columns: dict[str, Array], tasks: Sequence[str], last: int, v2: Onset) -> dict[str, Onset]:
    """Events that do not look at D."""
    steps, norm = columns["step"], columns["param_norm"]
    start = int(steps[0])
    memorised = [events.memorised(columns, task) for task in tasks]
    every = max((m for m in memorised if m is not None), default=None) if None not in memorised else None
    half = (norm[0] + norm[-1]) / 2
    passed = first(steps, (norm <= half) if norm[-1] < norm[0] else (norm >= half))
    losses = np.max([columns[f"train_loss_{task}"] for task in tasks], axis=0)
    low = first(steps, losses < LOSS)
    return {
        "memorised": Onset(every, every, start),
        "half norm": Onset(passed, last, start),
        f"loss < {LOSS:g}": Onset(low, low, start),
        FIRST: Onset(v2.search_from, v2.search_from, v2.search_from),
    }


def _event(run: RunOnsets, name: str, definition: str) -> Event:
    onset, grok = run.onsets[name], _nan(run.groks[definition])
    chance = chance_before(grok, _nan(onset.search_from), run.last_step)
    shifted = float(np.mean(run.shifted[name] < grok)) if name in run.shifted else float("nan")
    return Event(run.condition, _nan(onset.step), _nan(onset.known_at), grok, chance, shifted)


def _nan(step: int | None) -> float:
    return float("nan") if step is None else float(step)


def _family(runs: list[RunOnsets], definition: str) -> Family:
    shape = (len(FACTORS), len(FLOORS))
    found = Family(*(np.full(shape, np.nan) for _ in range(4)))
    for i, factor in enumerate(FACTORS):
        for j, floor in enumerate(FLOORS):
            detector: Detector = partial(spike, factor=factor, floor=floor)
            onsets = [detector(run.trace.steps, run.trace.D) for run in runs]
            groks = [(o, _nan(run.groks[definition]), run) for o, run in zip(onsets, runs, strict=True)]
            grokked = [(o, t, run) for o, t, run in groks if not np.isnan(t)]
            controls = [o for o, t, _ in groks if np.isnan(t)]
            leads = [t - _nan(o.step) for o, t, _ in grokked if o.step is not None]
            if leads:
                found.lead[i, j] = np.median(leads)
            if grokked:
                found.before[i, j] = np.mean([lead > 0 for lead in leads] + [False] * (len(grokked) - len(leads)))
                chances = [chance_before(t, _nan(o.search_from), run.last_step) for o, t, run in grokked]
                found.chance[i, j] = np.mean(chances)
            if controls:
                found.alarms[i, j] = np.mean([o.step is not None for o in controls])
    return found


def table(result: Result) -> list[Row]:
    """One row an event and definition of grokking, and the random onset; leads are medians, in steps."""
    rows = []
    for definition, scores in result.scores.items():
        rows += [_row(name, definition, each) for name, each in scores.items()]
        rows.append(_random(result, definition, scores["v2"]))
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]


def _row(name: str, definition: str, s: Score) -> Row:
    return {
        "event": name,
        "grok": definition,
        "runs": s.runs,
        "before": s.before,
        "by chance": float(np.arange(len(s.chance)) @ s.chance) if len(s.chance) else None,
        "p chance": s.p_chance,
        "p shifts": s.p_shifts,
        "lead": s.lead,
        "lead %": 100 * s.share,
        "known": s.known,
        "controls": s.controls,
        "alarms": s.alarms,
        "AUC": s.auc,
        "rho": s.rho,
        "p rho": _p_rho(s),
        "gamma": s.gamma,
        "alpha": s.alpha,
        "shuffled": "" if np.isnan(s.alpha_null[0]) else "{:.2f}..{:.2f}".format(*s.alpha_null),
    }


def _p_rho(s: Score) -> float | str:
    if s.rho_p is not None:
        return s.rho_p
    return "n too small" if s.rho_n < LEAST else "no spread"


def _random(result: Result, definition: str, v2: Score) -> Row:
    """Expected values for an onset uniform on v2's window."""
    row: Row = dict.fromkeys(_row(RANDOM, definition, v2))
    groks = [(run, run.groks[definition]) for run in result.runs if run.groks[definition] is not None]
    leads = [float(t) - (_nan(run.onsets["v2"].search_from) + run.last_step) / 2 for run, t in groks if t is not None]
    before = float(np.arange(len(v2.chance)) @ v2.chance) if len(v2.chance) else None
    row |= {"event": RANDOM, "grok": definition, "runs": v2.runs, "before": before, "by chance": before}
    row |= {"lead": float(np.median(leads)) if leads else None, "controls": v2.controls, "alarms": v2.controls}
    return row | {"AUC": 0.5, "rho": 0.0, "p rho": "", "shuffled": ""}


def cost(runs: Sequence[Run], settings: Settings) -> str:
    """Count the pairs of batches that no finished analysis has measured, and time one."""
    left = [run for run in runs if settings.fresh or finished(run, settings.protocol) is None]
    points = settings.repeats * sum(min(len(run.snapshots()), settings.most) for run in left)
    if not points:
        return "D of every run is there already: seconds"
    seconds = measured_seconds(left[0])
    each = 4 * seconds.grad32 if settings.protocol == "paper" else 2 * (seconds.grad64 + seconds.hvp64)
    return f"{points:,} pairs of batches in {len(left)} of {len(runs)} runs: {duration(points * each)}"


ANALYSIS = Analysis(
    "onset",
    "Does the defect rise before grokking, more so than anything that happens early, and only in runs that grok?",
    "arXiv:2602.18523, defect onset and lead; competing events, controls and nulls: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
