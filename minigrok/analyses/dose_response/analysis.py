"""Dose-response of interventions: when runs grok, arm by arm and dose by dose, beside what repeats of a seed differ by.

Runs that have not grokked when they end are censored: their time is more than that. All runs are cut at the smallest
budget among them, the horizon, so that every group could be watched for as long.
    baseline        runs of dose 0 and runs without an intervention; equal bits count once
    grok            Kaplan-Meier median of the time at which every task has grokked. Its interval covers 95 % or more,
                    and has no end with fewer than six seeds; of several repeats of a seed the first one counts
    x baseline      geometric mean over seeds of the seed's grok time over that of its baseline, each the geometric mean
                    of its repeats; ">": runs were censored, so it is more; "<": baselines were, so it is less
    repeats         s = standard deviation of ln t between repeats of one seed, pooled over arms and doses
    t               ln(x baseline) / (s sqrt(sum_s (1/n_s + 1/m_s)) / S), n_s runs and m_s baselines of seed s among S;
                    p repeats is Student's, df the freedom of s: whether THESE seeds differ by more than repeats do. It
                    supposes that ln t of repeats is normal, scatters alike in all arms, and is not censored
    p baseline      log-rank test against the baseline; p deletion: against the arm deletion at the same dose. By
                    exchange within seeds (minigrok.statistics.exchange): whether seeds differ. None where no exchange
                    could give .05, as with five seeds in both arms; not corrected for the number of tests
From the log of each run, from its start on: median share of the gradient and of AdamW's update in the plane; D over the
D of the seed's baseline at the same steps (the same batches), geometric mean; kicks: D after over D before.
norm at the end: |theta|. unused row kept: norm of token 0's embedding at the end over its initial one. No pair has this
token, so its gradient is 0 and AdamW alone leaves (1 - lr wd)^t: more than that is what P g, which is dense, put there.
Source: arXiv:2602.18523, dose-response of one run a dose; censoring, tests, repeats and arms: minigrok.
"""

import math
from collections.abc import Sequence

import numpy as np

from minigrok.analyses.base import Analysis, Cost, Work
from minigrok.analyses.dose_response.figure import figure
from minigrok.analyses.dose_response.result import BASELINE, Group, Life, Ratio, Result, Settings
from minigrok.analyses.dose_response.runs import lives_of
from minigrok.analyses.dose_response.table import table
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import START, host
from minigrok.analyses.shared.units import condition, require_alike
from minigrok.config.arms import ARMS
from minigrok.statistics.exchange import SIGNIFICANT
from minigrok.statistics.intervals import student_p
from minigrok.statistics.survival import Survival, log_rank, survival
from minigrok.storage.runs import Run


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return every group with its tests.

    Raises
    ------
    RunFolderError
        A run without an evaluation, or runs that differ in more than their intervention and seed.
    """
    require_alike(runs, events.labels(runs), ["intervention.*"], "their intervention")
    horizon = min(run.config.train.max_steps for run in runs)
    lives = lives_of(runs, horizon)
    spread, tasks = repeat_spread(lives), list(runs[0].config.task.operations)
    groups = groups_of(lives, spread, settings, work)
    return Result(settings.protocol, condition(runs[0].config), tasks, horizon, *spread, groups)


def groups_of(lives: Sequence[Life], spread: tuple[float, int], settings: Settings, work: Work) -> list[Group]:
    """Return the groups of lives, cut at one horizon, the baseline first; `spread` is that of repeats."""
    keys = sorted({(life.arm, life.dose) for life in lives}, key=_order)
    members = {key: [life for life in lives if (life.arm, life.dose) == key] for key in keys}
    return [_group(key, members, spread, settings, work) for key in keys]


def _order(key: tuple[str, float]) -> tuple[int, str, float]:
    """Sort key of (arm, dose): the baseline, then arms as their table has them."""
    arm, dose = key
    return (-1 if arm == BASELINE else list(ARMS).index(arm.partition(",")[0])), arm, dose


def repeat_spread(lives: Sequence[Life]) -> tuple[float, int]:
    """Return the standard deviation of ln t between grokked repeats of one arm, dose and seed, and its freedom."""
    squares, df = 0.0, 0
    keys = dict.fromkeys((life.arm, life.dose, life.seed) for life in lives)  # not a set: its order is the hashes'
    for key in keys:
        same = [life for life in lives if (life.arm, life.dose, life.seed) == key and life.happened[-1]]
        logs = np.log([life.times[-1] for life in same])
        if len(logs) > 1:
            squares, df = squares + float(((logs - logs.mean()) ** 2).sum()), df + len(logs) - 1
    return (math.sqrt(squares / df) if df else math.nan), df


def _group(
    key: tuple[str, float],
    members: dict[tuple[str, float], list[Life]],
    repeats: tuple[float, int],
    settings: Settings,
    work: Work,
) -> Group:
    (arm, dose), lives = key, members[key]
    base = members.get((BASELINE, 0.0), [])
    curves = [_curve(_one_a_seed(lives), k) for k in range(len(lives[0].times))]
    ratio, (sd, df) = ratio_of(lives, base), repeats
    t, p = math.nan, [math.nan, math.nan]
    if settings.protocol == "exact" and arm != BASELINE:
        t = math.log(ratio.value) / (sd * ratio.scale) if sd > 0 else math.nan
        p[0] = _test(lives, base, settings, work, f"{arm}/{dose:g}/baseline")
        if arm != "deletion":
            p[1] = _test(lives, members.get(("deletion", dose), []), settings, work, f"{arm}/{dose:g}/deletion")
    medians = [curve.median() for curve in curves]
    return Group(arm, dose, lives, curves[-1], medians, ratio, t, student_p(t, df), *p)


def _one_a_seed(lives: Sequence[Life]) -> list[Life]:
    """Return the first repeat of each seed: further ones would make the interval of the median too short."""
    return [life for life in lives if life.repeat == min(x.repeat for x in lives if x.seed == life.seed)]


def _curve(lives: Sequence[Life], k: int) -> Survival:
    return survival(np.array([life.times[k] for life in lives]), np.array([life.happened[k] for life in lives]))


def ratio_of(lives: Sequence[Life], base: Sequence[Life]) -> Ratio:
    """Return how much later runs grok than their seeds' baselines."""
    logs, bounds, variance = [], set(), 0.0
    for seed in sorted({life.seed for life in lives}):
        own, other = ([life for life in some if life.seed == seed] for some in (lives, base))
        if other:
            logs.append(_mean_log(own) - _mean_log(other))
            bounds |= {sign for sign, some in ((">", own), ("<", other)) if not all(x.happened[-1] for x in some)}
            variance += 1 / len(own) + 1 / len(other)
    if not logs or len(bounds) > 1:
        return Ratio(math.nan, "", 0, math.nan)
    return Ratio(math.exp(float(np.mean(logs))), "".join(bounds), len(logs), math.sqrt(variance) / len(logs))


def _mean_log(lives: Sequence[Life]) -> float:
    return float(np.mean([math.log(life.times[-1]) for life in lives]))


def _test(lives: Sequence[Life], other: Sequence[Life], settings: Settings, work: Work, name: str) -> float:
    """p of the log-rank test; nan where no exchange can be a small share of all."""
    if not other:
        return math.nan
    groups = [
        (np.array([x.times[-1] for x in g]), np.array([x.happened[-1] for x in g]), np.array([x.seed for x in g]))
        for g in (lives, other)
    ]
    found = log_rank(groups, work.rng(f"dose_response/{name}"), settings.draws)
    return found.p if found.least <= SIGNIFICANT else math.nan


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the runs."""
    return Cost(host(START), f"tables of evaluations of {len(runs)} run{'s' * (len(runs) > 1)}")


ANALYSIS = Analysis(
    "Does an intervention delay grokking, more than repeats of one seed differ, and is it what it claims to be?",
    "arXiv:2602.18523, orthogonal deletion; controls, censoring, repeats: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
