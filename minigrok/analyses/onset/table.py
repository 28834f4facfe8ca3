"""Table of onset: one row an event and definition of grokking, and an onset at random; runs that are left out."""

import numpy as np

from minigrok.analyses.base import Row, or_nan, plain_row
from minigrok.analyses.onset.result import SHUFFLES, Result, Score
from minigrok.statistics.intervals import coverage
from minigrok.statistics.small_samples import LEAST

RANDOM = "random onset"


def table(result: Result) -> list[Row]:
    """One row an event and definition of grokking, and the random onset; leads are medians, in steps."""
    rows = []
    for definition, scores in result.scores.items():
        rows += [_row(name, definition, each) for name, each in scores.items()]
        rows.append(_random(result, definition, scores["v2"]))
    empty = dict.fromkeys(rows[0])
    rows += [empty | {"event": f"left out: {name}", "says": why} for name, why in result.left_out.items()]
    return [plain_row(row) for row in rows]


def _row(name: str, definition: str, s: Score) -> Row:
    return {
        "event": name,
        "grok": definition,
        "runs": s.runs,
        "before": s.before,
        "by chance": s.expected,
        "in common": s.common,
        "p exchange": _p_exchange(s),
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
        "draws": SHUFFLES,
        "covers": None if np.isnan(s.alpha_null[0]) else coverage(SHUFFLES),
        "says": "",
    }


def _p_exchange(s: Score) -> float | str:
    if not np.isnan(s.p):
        return s.p
    return "no exchange differs" if s.least == 1 else "too few exchanges differ"


def _p_rho(s: Score) -> float | str:
    if s.rho_p is not None:
        return s.rho_p
    return "n too small" if s.rho_n < LEAST else "no spread"


def _random(result: Result, definition: str, v2: Score) -> Row:
    """Expected values for an onset uniform on v2's window."""
    row: Row = dict.fromkeys(_row(RANDOM, definition, v2))
    groks = [(run, t) for run in result.runs if (t := run.groks[definition]) is not None]
    leads = [t - (or_nan(run.onsets["v2"].search_from) + run.last_step) / 2 for run, t in groks]
    row |= {"event": RANDOM, "grok": definition, "runs": v2.runs, "before": v2.expected, "by chance": v2.expected}
    row |= {"lead": float(np.median(leads)) if leads else None, "controls": v2.controls, "alarms": v2.controls}
    return row | {"AUC": 0.5, "rho": 0.0, "p exchange": "", "p rho": "", "shuffled": "", "says": ""}
