"""Table of dose_response: one row an arm and dose, and what each allows to say."""

import math

import numpy as np

from minigrok.analyses.base import Row, plain_row
from minigrok.analyses.dose_response.result import BASELINE, Group, Result
from minigrok.statistics.exchange import SIGNIFICANT

MEASURES = (  # of each life: the median of a group is a column
    "train accuracy",
    "grad inside",
    "update inside",
    "norm at the end",
    "unused row kept",
    "D / baseline",
    "kick D after / before",
)


def table(result: Result) -> list[Row]:
    """One row an arm and dose; steps that were not reached by half of the runs are empty."""
    return [_row(result, group) for group in result.groups]


def _row(result: Result, group: Group) -> Row:
    row: Row = {"arm": group.arm, "dose": group.dose, "runs": len(group.lives)}
    row["seeds"] = len({life.seed for life in group.lives})
    row["grokked"] = sum(bool(life.happened[-1]) for life in group.lives)
    row |= {f"grok {task}": median.value for task, median in zip(result.tasks, group.medians, strict=False)}
    last = group.medians[-1]
    row |= {"grok": last.value, "low": last.low, "high": last.high}
    value, bound, *_ = group.ratio
    row["x baseline"] = "" if math.isnan(value) else f"{bound}{value:.2f}"
    row |= {"t": group.t, "df": result.repeats_df, "p repeats": group.p_repeats}
    row |= {"p baseline": group.p_baseline, "p deletion": group.p_deletion}
    row |= {name: _median([life.measures.get(name, math.nan) for life in group.lives]) for name in MEASURES}
    row["says"] = verdict(result, group)
    return plain_row(row)


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def verdict(result: Result, group: Group) -> str:
    """Say what the group allows to say."""
    waiting = [life for life in group.lives if not life.happened[-1]]
    short = sum(life.last < result.horizon for life in waiting)
    words = [f"{short} still going: censored where they are"] if short else []
    if censored := len(waiting) - short:
        words.append(f"{censored} censored at {result.horizon:,}: later, not never")
    if group.arm != BASELINE and result.protocol == "exact":
        if math.isnan(result.repeat_sd):
            words.append("no repeats: no error bar")
        elif not math.isnan(group.t):
            towards = {"": True, ">": group.t > 0, "<": group.t < 0}[group.ratio.bound]
            beyond = group.p_repeats <= SIGNIFICANT and towards
            words.append("beyond repeats" if beyond else "undecided" if group.ratio.bound else "within repeats")
    return "; ".join(words)
