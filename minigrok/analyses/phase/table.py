"""The table of `phase`, part by part. What value, low and high are.

grok step       median over runs, those that did not grok included; its interval covers 95 % or more, and has no end
                with fewer than six runs
restricted mean up to the common horizon; its 95 % interval is Student's, for normal times that were all seen
t lr wd         median over runs that grokked, smallest and largest
law             AICc; the row of the exponent has its 95 % interval (minigrok.statistics.fits)
log-rank        statistic
other parts     median over the runs of a condition, smallest and largest
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from minigrok.analyses.base import Row
from minigrok.analyses.phase.curvature import Depth
from minigrok.analyses.phase.laws import Over
from minigrok.analyses.phase.rebuilt import PARTS, Rebuilding
from minigrok.analyses.phase.result import Result
from minigrok.analyses.phase.runs import REGIMES, Life
from minigrok.statistics.fits import LAWS
from minigrok.statistics.survival import Survival, at_most


def table(result: Result) -> list[Row]:
    """Return the rows of all parts; every row has the same columns."""
    rows = [*_grok_steps(result), *_clocks(result), *_laws(result), *_tests(result)]
    for name, life in zip(result.labels, _by_condition(result), strict=True):
        rows += _regimes(name, life)
    rows += [*_curvature(result), *_leads(result), *_thresholds(result), *_notes(result)]
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]


def _row(
    part: str,
    condition: str,
    what: str,
    runs: int | None = None,
    value: float | None = None,
    low: float | None = None,
    high: float | None = None,
    says: str = "",
) -> Row:
    names = ("part", "condition", "what", "runs", "value", "low", "high", "says")
    return dict(zip(names, (part, condition, what, runs, value, low, high, says), strict=True))


def _middle(part: str, condition: str, what: str, values: Iterable[float], says: str = "") -> Iterator[Row]:
    """Row of a median with its extremes; none without a value."""
    found = np.array([value for value in values if value == value])
    if found.size:
        yield _row(part, condition, what, len(found), float(np.median(found)), found.min(), found.max(), says)


def _by_condition(result: Result) -> list[list[Life]]:
    return [[life for life in result.lives if life.condition == each] for each in result.conditions]


def _grok_steps(result: Result) -> Iterator[Row]:
    w = result.waiting
    for name, curve, tasks in zip(result.labels, w.curves, w.tasks, strict=True):
        each = dict(zip(result.tasks, tasks, strict=True))
        for what, one in (each | ({"all tasks": curve} if len(tasks) > 1 else {})).items():
            n = int(one.at_risk[0])
            yield _row("grok step", name, what, n, *one.median(), says=counted(one))
    for name, curve in zip(result.labels, w.curves, strict=True):
        mean, (low, high, n) = curve.restricted_mean(w.horizon)
        says = f"mean of min(grok step, {w.horizon:,.0f})"
        yield _row("restricted mean", name, "all tasks", n, mean, low, high, says)


def counted(curve: Survival) -> str:
    """Return "2 of 3 grokked"; where none did, what that leaves possible."""
    n, events = int(curve.at_risk[0]), int(curve.events.sum())
    if events:
        return f"{events} of {n} grokked"
    return f"0 of {n} by step {curve.times[0]:,.0f}: at most {at_most(n):.0%} grok by then (95 %)"


def _clocks(result: Result) -> Iterator[Row]:
    for name, lives in zip(result.labels, _by_condition(result), strict=True):
        times = [life.clock * t for life in lives for t, grokked in [life.all_times] if grokked and life.clock]
        yield from _middle("t lr wd", name, "all tasks", times)


def _laws(result: Result) -> Iterator[Row]:
    for name, response in result.laws.items():
        for where, over in response.over.items():
            part = f"law, {where}"
            if over.censored:
                yield _row(part, name, "did not grok, left out", over.censored)
            if over.says:
                yield _row(part, name, "none", over.runs, says=over.says)
            for fit in over.fits:
                law = LAWS[fit.law]
                numbers = ", ".join(f"{k} = {v:.4g}" for k, v in zip(law.parameters, fit.parameters, strict=True))
                says = f"{law.formula}: {numbers}; R2 in ln t {fit.r2:.3f}; lack of fit p {_p(fit.lack)}"
                yield _row(part, name, f"AICc {fit.law}", over.runs, fit.aicc, says=says)
            yield from _exponent(part, name, over.runs, over)
            for each in over.paper:
                numbers = ", ".join(f"{v:.4g}" for v in each.parameters)
                says = f"parameters {numbers}; R2 in the space of {each.space}"
                yield _row(part, name, f"R2 {each.law}", over.runs, each.r2, says=says)


def _exponent(part: str, name: str, runs: int, over: Over) -> Iterator[Row]:
    if not over.fits:
        return
    off = ", ".join(f"{np.expm1(r):+.0%} at {wd:g}" for wd, r in zip(over.wd, over.residual, strict=True))
    df = next(fit.df for fit in over.fits if fit.law == "power law")
    says = f"{df} df; 1: t lr wd is constant; means off by {off}"
    b, low, high = over.exponent
    yield _row(part, name, "exponent b", runs, b, low, high, says)
    if not np.isnan(over.bend[0]):
        yield _row(part, name, "bend of (ln wd)^2", runs, over.bend[0], says=f"p {_p(over.bend[1])}; 0: one exponent")


def _tests(result: Result) -> Iterator[Row]:
    for what, test in result.waiting.tests.items():
        says = f"{test.df} df; p {_p(test.p)} by exchange within seeds, the least that they allow {_p(test.least)}"
        if not all(life.is_over for life in result.lives):
            says += ", which supposes one budget: some runs are unfinished"
        yield _row("log-rank", "", what, None, test.statistic, says=says if test.df else "no event to compare")


def _regimes(name: str, lives: Sequence[Life]) -> Iterator[Row]:
    yield from _middle("memorised", name, "step, last task", (life.memorised.max() for life in lives))
    for what in ("start", *REGIMES, "end"):
        yield from _middle("norm", name, what, (life.norms[what] for life in lives))
    for part, attribute in (("gradient norm", "gradients"), ("train loss", "losses")):
        for regime in REGIMES:
            yield from _middle(part, name, regime, (getattr(life, attribute)[regime] for life in lives))
    yield from _middle("slingshots", name, "cycles of a run", (float(len(life.slingshots)) for life in lives))
    rates = (1e4 * len(life.slingshots) / life.watched for life in lives if life.watched)
    yield from _middle("slingshots", name, "cycles in 10,000 steps", rates)


def _curvature(result: Result) -> Iterator[Row]:
    for condition, name in zip(result.conditions, result.labels, strict=True):
        pairs = zip(result.lives, result.depths, strict=True)
        found: list[Depth] = [depth for life, depths in pairs if life.condition == condition for depth in depths]
        for kind in dict.fromkeys(depth.kind for depth in found):
            these = [depth for depth in found if depth.kind == kind]
            worst = max(depth.residual / abs(depth.value) if depth.value else np.nan for depth in these)
            met = f"summed loss {_span(depth.loss for depth in these)}, lr wd t {_span(depth.clock for depth in these)}"
            says = f"{these[0].says}; {met}; largest residual {worst:.2g} of the value"
            yield from _middle("lowest eigenvalue", name, kind, (depth.value for depth in these), says)
            scaled = (depth.value / depth.highest for depth in these if depth.highest > 0)
            yield from _middle("lowest / highest", name, kind, scaled)
            says = "median over the checkpoints that the deepest is of"
            yield from _middle("lowest eigenvalue", name, f"{kind}, median", (depth.middle for depth in these), says)


def _leads(result: Result) -> Iterator[Row]:
    for condition, name in zip(result.conditions, result.labels, strict=True):
        pairs = zip(result.lives, result.leads, strict=True)
        found = [lead for life, leads in pairs if life.condition == condition for lead in leads]
        for detector in dict.fromkeys(lead.detector for lead in found):
            these = [lead for lead in found if lead.detector == detector]
            fired = sum(lead.onset == lead.onset for lead in these)
            says = f"fires in {fired} of {len(these)}; {min(lead.checkpoints for lead in these)} checkpoints or more"
            rows = [*_middle("lead", name, detector, (lead.lead for lead in these), says)]
            yield from rows or [_row("lead", name, detector, 0, says=says)]


def _thresholds(result: Result) -> Iterator[Row]:
    for condition, name in zip(result.conditions, result.labels, strict=True):
        pairs = zip(result.lives, result.rebuilt, strict=True)
        found = [each for life, each in pairs if each is not None and life.condition == condition]
        for part in PARTS if found else ():
            for what, crossing in (("first", Rebuilding.first), ("lasting", Rebuilding.lasting)):
                ks = [crossing(each, part) for each in found]
                reached = sum(k == k for k in ks)
                whole = _span(each.whole[part] for each in found)
                says = f"reached in {reached} of {len(found)}; worst task's accuracy of the whole network {whole}"
                rows = [*_middle("k*", name, f"{part} pairs, {what}", ks, says)]
                yield from rows or [_row("k*", name, f"{part} pairs, {what}", 0, says=says)]
        at = [100 * each.outside[int(k) - 1] for each in found if (k := each.first("test")) == k]
        yield from _middle("k*", name, "% outside at k*, test", at)


def _notes(result: Result) -> Iterator[Row]:
    yield _row("laws are of", "", result.line)
    for life in result.lives:
        if not life.is_over:
            says = "unfinished: censored at its last evaluation where it had not grokked"
            yield _row("unfinished", "", life.run, None, float(life.last), says=says)
    for name, why in result.left_out.items():
        yield _row("left out", "", name, says=why)


def _span(values: Iterable[float]) -> str:
    low, *_, high = sorted(values) * 2
    return f"{low:.3g}" if low == high else f"{low:.3g} .. {high:.3g}"


def _p(p: float) -> str:
    return "-" if np.isnan(p) else f"{p:.2g}"
