"""What one intervened run says: when it grokked or until when it was watched, and the medians of its log."""

import math
from collections.abc import Sequence

import numpy as np

from minigrok.analyses.dose_response.result import BASELINE, Life
from minigrok.analyses.shared import events
from minigrok.config import Intervention
from minigrok.engine import Array
from minigrok.storage.runs import Run
from minigrok.training.interventions import TABLE

DETAILS = ("basis", "start", "rank", "every", "support")  # settings that make another arm where they vary


def lives_of(runs: Sequence[Run], horizon: int) -> list[Life]:
    """Return the lives of runs, cut at the horizon; of runs with equal bits the one with a log."""
    changed = [run.config.intervention for run in runs if run.config.intervention.dose > 0]
    varied = [key for key in DETAILS if len({getattr(each, key) for each in changed}) > 1]
    logs = {id(run): run.metrics(TABLE) for run in runs}
    kept: dict[tuple[str, float, int, int], Run] = {}
    for run in runs:
        settings = run.config.intervention
        key = _arm(settings, varied), settings.dose, run.config.seed, settings.repeat
        if key not in kept or not logs[id(kept[key])]:
            kept[key] = run
    references = {seed: logs[id(run)] for (arm, _, seed, repeat), run in kept.items() if (arm, repeat) == (BASELINE, 0)}
    seen = sorted(kept.values(), key=runs.index)
    names = events.labels(seen)
    return [_life(run, name, horizon, varied, references) for run, name in zip(seen, names, strict=True)]


def _life(run: Run, name: str, horizon: int, varied: Sequence[str], references: dict[int, dict[str, Array]]) -> Life:
    columns, settings = events.evaluations(run), run.config.intervention
    last = min(int(columns["step"][-1]), horizon)
    times, happened = events.grok_times(run.config, columns)
    times, happened = np.minimum(times, horizon), happened & (times <= horizon)
    label = _arm(settings, varied)
    measures = _measures(run, columns, references.get(run.config.seed, {}))
    return Life(name, label, settings.dose, run.config.seed, settings.repeat, last, times, happened, measures)


def _arm(settings: Intervention, varied: Sequence[str]) -> str:
    if settings.dose == 0:
        return BASELINE
    said = {key: " ".join(value) if isinstance(value := getattr(settings, key), tuple) else value for key in varied}
    details = [f"{key} {value}" for key, value in said.items() if value or key not in ("basis", "support")]
    return ", ".join([settings.arm, *details])


def _measures(run: Run, columns: dict[str, Array], reference: dict[str, Array]) -> dict[str, float]:
    """Medians over the evaluations from the start of the intervention on, and what is there at the end."""
    start, log = run.config.intervention.start, run.metrics(TABLE)
    late = columns["step"] >= start
    accuracies = [columns[f"train_accuracy_{task}"][late] for task in run.config.task.operations]
    found = {"train accuracy": float(np.median(np.min(accuracies, axis=0))) if late.any() else math.nan}
    found |= {"norm at the end": float(columns["param_norm"][-1]), "unused row kept": _unused_row(run)}
    if not log or not (after := log["step"] >= start).any():
        return found
    for name in ("grad", "update"):
        found[f"{name} inside"] = float(np.median(log[f"{name}_inside"][after]))
    found["D / baseline"] = _relative(log, reference, start)
    if "kicks" in log:
        before, after_kick = log["defect_before"][-1], log["defect_after"][-1]
        found["kick D after / before"] = float(after_kick / before) if before > 0 else math.nan
    return found


def _unused_row(run: Run) -> float:
    """Norm of the embedding of token 0, which no pair has, at the last snapshot over that at the start.

    Its gradient is 0, so what is not (1 - lr wd)^t here was put there by the intervention; nan where 0 is a token.
    """
    steps = run.snapshots()
    if not run.config.task.exclude_zero or len(steps) < 2:
        return math.nan
    ends = [run.layout.views(run.load_snapshot(step))["tok_emb.weight"][0] for step in (steps[0], steps[-1])]
    first, last = (float(np.linalg.norm(row.astype(np.float64))) for row in ends)
    return last / first if first > 0 else math.nan


def _relative(log: dict[str, Array], reference: dict[str, Array], start: int) -> float:
    """Geometric mean of D over the baseline's D at the steps at which both were measured."""
    if not reference:
        return math.nan
    _, i, j = np.intersect1d(log["step"], reference["step"], return_indices=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(log["defect"][i] / reference["defect"][j])
    ratios = ratios[np.isfinite(ratios) & (log["step"][i] >= start)]
    return float(np.exp(ratios.mean())) if len(ratios) else math.nan
