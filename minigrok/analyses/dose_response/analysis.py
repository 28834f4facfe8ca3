"""Dose-response of interventions: when runs grok, arm by arm and dose by dose, beside what repeats of a seed differ by.

Runs that have not grokked when they end are censored: their time is more than that. All runs are cut at the smallest
budget among them, the horizon, so that every group could be watched for as long.
    baseline        runs of dose 0 and runs without an intervention; equal bits count once
    grok            Kaplan-Meier median of the time at which every task has grokked, with its 95 % interval
    x baseline      geometric mean over seeds of grok time over that of the seed's baseline; ">": some were censored
    repeats         s = standard deviation of ln t between repeats of one seed, pooled: the error bar of a single run
    z               ln(x baseline) / (s sqrt(1/n + 1/m)), n runs and m of the baseline: beyond 2 a repeat seldom is
    p baseline      log-rank test against the baseline; p deletion: against the arm deletion at the same dose. Share of
                    random exchanges; p of one test each, not corrected for their number
From the log of each run, from its start on: median share of the gradient and of AdamW's update in the plane; D over the
D of the seed's baseline at the same steps (the same batches), geometric mean; kicks: D after over D before.
norm at the end: |theta|. unused row kept: norm of token 0's embedding at the end over its initial one. No pair has this
token, so its gradient is 0 and AdamW alone leaves (1 - lr wd)^t: more than that is what P g, which is dense, put there.
Source: arXiv:2602.18523, dose-response of one run a dose; censoring, tests, repeats and arms: minigrok.
"""

import math
from collections.abc import Sequence

import numpy as np

from minigrok.analyses.base import Analysis, Work
from minigrok.analyses.dose_response.figure import figure
from minigrok.analyses.dose_response.result import BASELINE, Group, Life, Result, Settings
from minigrok.analyses.dose_response.runs import lives_of
from minigrok.analyses.dose_response.table import table
from minigrok.analyses.shared import events
from minigrok.config.arms import ARMS
from minigrok.errors import ConfigError
from minigrok.statistics.survival import Survival, log_rank, survival
from minigrok.storage.runs import Run


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return every group with its tests.

    Raises
    ------
    ConfigError
        Runs of different tasks or weight decays.
    RunFolderError
        A run without an evaluation.
    """
    conditions = list(dict.fromkeys(events.condition(run.config) for run in runs))
    if len(conditions) > 1:
        do = "compare runs that differ in their intervention and seed alone"
        raise ConfigError("runs of one condition", "; ".join(conditions), do)
    horizon = min(run.config.train.max_steps for run in runs)
    lives = lives_of(runs, horizon)
    sd, df = repeat_spread(lives)
    keys = sorted({(life.arm, life.dose) for life in lives}, key=_order)
    members = {key: [life for life in lives if (life.arm, life.dose) == key] for key in keys}
    groups = [_group(key, members, sd, settings, work) for key in keys]
    tasks = list(runs[0].config.task.operations)
    return Result(settings.protocol, conditions[0], tasks, horizon, sd, df, groups)


def _order(key: tuple[str, float]) -> tuple[int, str, float]:
    """Sort key of (arm, dose): the baseline, then arms as their table has them."""
    arm, dose = key
    return (-1 if arm == BASELINE else list(ARMS).index(arm.partition(",")[0])), arm, dose


def repeat_spread(lives: Sequence[Life]) -> tuple[float, int]:
    """Return the standard deviation of ln t between grokked repeats of one arm, dose and seed, and its freedom."""
    squares, df = 0.0, 0
    for key in {(life.arm, life.dose, life.seed) for life in lives}:
        same = [life for life in lives if (life.arm, life.dose, life.seed) == key and life.happened[-1]]
        logs = np.log([life.times[-1] for life in same])
        if len(logs) > 1:
            squares, df = squares + float(((logs - logs.mean()) ** 2).sum()), df + len(logs) - 1
    return (math.sqrt(squares / df) if df else math.nan), df


def _group(
    key: tuple[str, float], members: dict[tuple[str, float], list[Life]], sd: float, settings: Settings, work: Work
) -> Group:
    (arm, dose), lives = key, members[key]
    base = members.get((BASELINE, 0.0), [])
    curves = [_curve(lives, k) for k in range(len(lives[0].times))]
    ratio, is_bound, n_base = _ratio(lives, base)
    spread = sd * math.sqrt(1 / len(lives) + 1 / n_base) if n_base else math.nan
    p = [math.nan, math.nan]
    if settings.protocol == "exact" and arm != BASELINE:
        p[0] = _test(lives, base, settings, work, f"{arm}/{dose:g}/baseline")
        if arm != "deletion":
            p[1] = _test(lives, members.get(("deletion", dose), []), settings, work, f"{arm}/{dose:g}/deletion")
    z = math.log(ratio) / spread if settings.protocol == "exact" and arm != BASELINE and spread > 0 else math.nan
    return Group(arm, dose, lives, curves[-1], [curve.median() for curve in curves], ratio, is_bound, z, *p)


def _curve(lives: Sequence[Life], k: int) -> Survival:
    return survival(np.array([life.times[k] for life in lives]), np.array([life.happened[k] for life in lives]))


def _ratio(lives: Sequence[Life], base: Sequence[Life]) -> tuple[float, bool, int]:
    """Geometric mean of times over the baseline's of the same seed, whether it is a bound, and runs of the baseline."""
    logs, is_bound, used = [], False, 0
    for seed in sorted({life.seed for life in lives}):
        own = [life for life in lives if life.seed == seed]
        other = [life for life in base if life.seed == seed and life.happened[-1]]
        if other:
            reference = np.log([life.times[-1] for life in other]).mean()
            logs += [math.log(life.times[-1]) - reference for life in own]
            is_bound, used = is_bound or not all(life.happened[-1] for life in own), used + len(other)
    return (math.exp(float(np.mean(logs))) if logs else math.nan), is_bound, used


def _test(lives: Sequence[Life], other: Sequence[Life], settings: Settings, work: Work, name: str) -> float:
    """p of the log-rank test, by exchanges; nan where no exchange can be a small share of all."""
    if min(len(lives), len(other)) < 1 or math.comb(len(lives) + len(other), len(lives)) < 2 / 0.05:
        return math.nan
    groups = [(np.array([x.times[-1] for x in g]), np.array([x.happened[-1] for x in g])) for g in (lives, other)]
    return log_rank(groups, work.rng(f"dose_response/{name}"), settings.draws).p_order


ANALYSIS = Analysis(
    "Does an intervention delay grokking, more than repeats of one seed differ, and is it what it claims to be?",
    "arXiv:2602.18523, orthogonal deletion; controls, censoring, repeats: minigrok",
    Settings,
    compute,
    table,
    figure,
    lambda runs, settings: f"tables of evaluations of {len(runs)} run{'s' * (len(runs) > 1)}, seconds",
    many=True,
)
