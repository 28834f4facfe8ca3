"""Onset of the commutator defect, and whether it foretells grokking better than events that cannot miss.

Onset of D by the paper's detectors (minigrok.statistics.detectors), beside events that say nothing about D:
    memorised              train accuracy of every task above .99
    half norm              parameter norm half-way between its first and its last value (known at the end only)
    loss < 0.1             train loss of every task, in nats
    first sample           the first D that v2 may return, at 25 % of the run: an onset without looking at D
    random onset           expected values for an onset uniform on v2's window
Grok step: the first task's, by two definitions, 0.98 x 3 (two tasks in the paper) and first 0.90 (three tasks).
Runs that never grok are the controls: an onset in them is a false alarm. Runs may differ in weight decay and seed, and
in nothing else; of several runs of one condition and seed the first counts, the others are left out and named.
Threshold family: onset = first D > factor x (median of the first three, at least 0.1) and D > floor, from the third on;
lead, share before the grok step, and false alarms are curves over factor and floor.
What each score means, and its nulls: minigrok.analyses.onset.scores.
Protocol "paper": D in float32, of 9 pairs of batches at 120 checkpoints at most; for three tasks, of 5 pairs every 100
steps. A result of `commutator --protocol paper` stands for it where it has the same steps and pairs.
A defect of the original that is not reproduced: its D of three tasks were measured in training, with random numbers of
the stream that draws the batches, so that these runs saw other batches than the other runs of their seed.
Source: arXiv:2602.18523 (detectors, code aa4e72f); baselines, nulls and family: minigrok.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from minigrok.analyses.base import Analysis, Cost, Work, median, or_nan
from minigrok.analyses.onset.figure import figure
from minigrok.analyses.onset.result import Family, Result, RunOnsets, Settings
from minigrok.analyses.onset.scores import Event, chance_before, score
from minigrok.analyses.onset.table import table
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import START, host, measured_seconds
from minigrok.analyses.shared.defect import Trace, trace_of, usable
from minigrok.analyses.shared.units import one_a_seed, require_alike, units
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.statistics.detectors import DETECTORS, Detector, Onset, spike
from minigrok.storage.milestones import first
from minigrok.storage.runs import Run
from minigrok.training.counters import more_steps

FACTORS = (2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
FLOORS = (0.0, 20.0, 100.0)  # the paper's spike: factor 10, floor 20
LOSS = 0.1
FIRST = "first sample"


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the onsets of every run, and every score.

    Raises
    ------
    RunFolderError
        No run has three snapshots, one has no evaluation, or runs differ in other settings than weight decay.
    """
    names = events.labels(runs)
    require_alike(runs, names, ["optimiser.weight_decay"], "weight decay")
    lengths = {name: len(run.snapshots()) for name, run in zip(names, runs, strict=True)}
    short = {name: "fewer than three snapshots" for name, length in lengths.items() if length < 3}
    if len(short) == len(runs):
        got = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise RunFolderError("a run with three snapshots", got, more_steps(runs[0]))
    kept, repeats = one_a_seed({name: run for name, run in zip(names, runs, strict=True) if name not in short})
    conditions = [unit.condition for unit in units([*kept.values()])]
    lives = [_life(run, name, of, settings, work) for (name, run), of in zip(kept.items(), conditions, strict=True)]
    found = [_onsets(life, lives) for life in lives]
    scores, families = {}, {}
    for definition in events.GROKS:
        rng = work.rng(f"onset/{definition}")
        scores[definition] = {
            name: score([_event(r, name, definition) for r in found], rng) for name in found[0].onsets
        }
        families[definition] = _family(found, definition)
    return Result(found, short | repeats, np.array(FACTORS), np.array(FLOORS), scores, families)


class Life(NamedTuple):
    """What onsets are sought in: columns of the evaluations, D, and both up to the last step."""

    name: str
    condition: str
    tasks: Sequence[str]
    columns: dict[str, Array]
    trace: Trace
    last: int
    groks: dict[str, int | None]

    def until(self, end: int) -> "Life":
        """Return what is known up to a step."""
        seen, steps = self.columns["step"] <= end, self.trace.steps
        columns = {name: values[seen] for name, values in self.columns.items()}
        trace = replace(self.trace, steps=steps[steps <= end], D=self.trace.D[steps <= end])
        return self._replace(columns=columns, trace=trace, last=end)


def _life(run: Run, name: str, words: str, settings: Settings, work: Work) -> Life:
    columns, tasks = events.evaluations(run), run.config.task.operations
    trace = trace_of(run, work, settings.sampling(run.config), settings.fresh)
    groks: dict[str, int | None] = {}
    for definition, (level, patience) in events.GROKS.items():
        reached = [events.reached(columns, task, level, patience) for task in tasks]
        groks[definition] = min((step for step in reached if step is not None), default=None)
    return Life(name, words, tasks, columns, trace, max(int(columns["step"][-1]), int(trace.steps[-1])), groks)


def _onsets(life: Life, lives: Sequence[Life]) -> RunOnsets:
    """Onsets of a run, whole and up to the last step of the shortest run of its condition that groks."""
    alike = [each.last for each in lives if each.condition == life.condition and any(each.groks.values())]
    end = min([life.last, *alike])
    common = _sought(life.until(end))
    return RunOnsets(life.name, life.condition, life.trace, life.last, end, life.groks, _sought(life), common)


def _sought(life: Life) -> dict[str, Onset]:
    found = {name: detector(life.trace.steps, life.trace.D) for name, detector in DETECTORS.items()}
    return found | _trivial(life.columns, life.tasks, life.last, found["v2"])


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
    onset, grok = run.onsets[name], or_nan(run.groks[definition])
    chance = chance_before(grok, or_nan(onset.search_from), run.last_step)
    common = or_nan(run.common[name].step)
    return Event(run.condition, or_nan(onset.step), or_nan(onset.known_at), grok, chance, common)


def _family(runs: list[RunOnsets], definition: str) -> Family:
    detectors = [[partial(spike, factor=factor, floor=floor) for floor in FLOORS] for factor in FACTORS]
    found = np.array([[_at_threshold(runs, definition, each) for each in line] for line in detectors])
    return Family(*(found[..., i].copy() for i in range(4)))


def _at_threshold(runs: list[RunOnsets], definition: str, detector: Detector) -> tuple[float, float, float, float]:
    """Lead, share before, its chance, and share of alarms of one detector: the fields of a `Family`."""
    found = [(detector(run.trace.steps, run.trace.D), run.groks[definition], run.last_step) for run in runs]
    grokked = [(onset, grok, last) for onset, grok, last in found if grok is not None]
    leads = np.array([grok - or_nan(onset.step) for onset, grok, _ in grokked])  # nan: no onset, so not before
    chances = [chance_before(grok, or_nan(onset.search_from), last) for onset, grok, last in grokked]
    alarms = [onset.step is not None for onset, grok, _ in found if grok is None]
    return median(leads[~np.isnan(leads)]), _mean(leads > 0), _mean(chances), _mean(alarms)


def _mean(values: Array | list[float] | list[bool]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the pairs of batches that no finished analysis has measured."""
    sampled = {run.folder: settings.sampling(run.config) for run in runs}
    left = [run for run in runs if settings.fresh or usable(run, sampled[run.folder]) is None]
    points = sum(x.repeats * min(len(run.snapshots()), x.most) for run in left for x in [sampled[run.folder]])
    if not points:
        return Cost(host(START), "D of every run is there already")
    seconds = measured_seconds(left[0])
    each = 4 * seconds.grad32 if settings.protocol == "paper" else 2 * (seconds.grad64 + seconds.hvp64)
    return Cost(host(START) + points * each, f"{points:,} pairs of batches in {len(left)} of {len(runs)} runs")


ANALYSIS = Analysis(
    "Does the defect rise before grokking, more so than anything that happens early, and only in runs that grok?",
    "arXiv:2602.18523, defect onset and lead; competing events, controls, exchanges: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
