"""How a kind of claim is decided from the numbers of its runs: one function a kind, each with two answers.

    reproduces    does the number come out, by the paper's protocol
    supported     does the exact measurement show it, beyond its null
Each p is two-sided, and of several tests that must all pass it is the largest. A rule returns facts; what follows from
them is `verdict`'s table.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minigrok.audit.answers import (
    NAN,
    NO,
    SMALLEST,
    UNDECIDED,
    YES,
    Answer,
    Case,
    all_of,
    before_target,
    by_seed,
    chance_before,
    comes_out,
    differ,
    equivalent,
    exact_of,
    exacts,
    exceeds,
    gains,
    holds,
    in_paper,
    later,
    null_of,
    of,
    paper_of,
    rank,
    scatters_less,
    share,
)
from minigrok.audit.claims import Claim, Quantity
from minigrok.engine import Array
from minigrok.statistics.decisions import at_least, share_p, unlike
from minigrok.statistics.exchange import EXCHANGES, SIGNIFICANT
from minigrok.statistics.intervals import share_interval
from minigrok.statistics.small_samples import sign_test


class Judged(NamedTuple):
    """The facts of one claim; `differs`: exact and paper's protocol, by more than the rounding floor."""

    reproduces: Answer
    supported: Answer
    null_passes: bool
    differs: bool


Rule = Callable[[Claim, Sequence[Case], np.random.Generator, int], Judged]


def value(claim: Claim, cases: Sequence[Case], rng: np.random.Generator, exchanges: int = EXCHANGES) -> Judged:
    """Reproduces: the next seed's interval meets the paper's range. Supported: mean of (value - null) beyond sesoi."""
    own = of(cases, "case")
    found = all_of([exceeds(claim, gains(claim, own, take)) for take in exacts(claim)])
    null = by_seed(own, lambda case: null_of(claim, case))
    passes = bool(len(null)) and in_paper(claim, float(null.mean()), float(null.mean()))
    return Judged(comes_out(claim, own), found, passes, differ(claim, own))


def count(claim: Claim, cases: Sequence[Case], rng: np.random.Generator, exchanges: int = EXCHANGES) -> Judged:
    """Both: share of seeds in which it holds, ties out, against chance; supported: by every exact variant alike.

    An order holds in a seed if its number has the claim's sign, a count if it lies in the claim's range.
    """
    own, controls = of(cases, "case"), of(cases, "control")
    chance = claim.chance
    if claim.null is not None:
        null = by_seed(own, lambda case: holds(claim, claim.null, case.null))
        chance = max(float((null > 0).mean()), SMALLEST) if len(null) else NAN

    def signs(some: Sequence[Case], quantity: Quantity | None, take: Callable[[Case], float]) -> Array:
        return np.sign(by_seed(some, lambda case: holds(claim, quantity, take(case))))

    def beside(quantity: Quantity, take: Callable[[Case], float]) -> Answer:
        others = signs(controls, quantity, take) if claim.controls else None
        return share(signs(own, quantity, take), chance, claim.sesoi, others)

    paper = share(signs(own, claim.quantity, paper_of), chance, claim.sesoi, None)
    exact = [beside(quantity, exact_of(i)) for i, quantity in enumerate(claim.exact) if not quantity.waits]
    others = signs(controls, claim.quantity, paper_of)
    passes = (chance is not None and chance >= claim.sesoi) or (
        bool(len(others)) and float((others > 0).mean()) >= claim.sesoi
    )
    differs = any(
        holds(claim, quantity, case.exact[i]) != holds(claim, claim.quantity, case.paper)
        for i, quantity in enumerate(claim.exact)
        for case in own
        if not quantity.waits and case.exact[i] == case.exact[i] and case.paper == case.paper
    )
    return Judged(paper, all_of(exact), passes, differs)


def event(claim: Claim, cases: Sequence[Case], rng: np.random.Generator, exchanges: int = EXCHANGES) -> Judged:
    """Reproduces: share of seeds with the event before. Supported: against three nulls.

    Dates shifted at random: the event is uniform between start and end of its run. Trivial predictors: log(target /
    event) scatters less about its median than that of each trivial event, sign flips. Controls: the event is rarer.
    """
    own, controls = of(cases, "case"), of(cases, "control")
    own = [case for case in own if case.target == case.target]
    paper = share(before_target(own, paper_of), None, claim.sesoi, None)
    before = before_target(own, exact_of(0))
    k, n = int((before > 0).sum()), len(before)
    chances = by_seed(own, chance_before, np.min).tolist()  # in every condition: at most the smallest
    shifted = min(2 * at_least(k, chances), 1.0) if chances else NAN
    trivial = [scatters_less(own, i, rng) for i in range(len(claim.trivial))]
    alarms = by_seed(controls, lambda case: float(np.isfinite(case.exact[0])))
    fired = int((alarms > 0).sum())
    alone = unlike(k, n, fired, len(alarms)) if fired * n < k * len(alarms) else 1.0
    p = max([shifted, *trivial, alone])
    low, high = (float(end) for end in share_interval(k, n)) if n else (NAN, NAN)
    unspecific = len(alarms) > 0 and float(share_interval(fired, len(alarms))[0]) > 1 - claim.sesoi
    is_no = n > 0 and (high < claim.sesoi or unspecific)
    answer = NO if is_no else YES if n and p <= SIGNIFICANT and k / n >= claim.sesoi else UNDECIDED
    least = max(2 * at_least(n, chances), sign_test(n, 0)) if chances else NAN
    passes = bool(chances) and float(np.mean(chances)) >= claim.sesoi
    found = Answer(answer, k / n if n else NAN, low, high, n, p, min(least, 1.0))
    return Judged(paper, found, passes, differ(claim, own))


def covariation(claim: Claim, cases: Sequence[Case], rng: np.random.Generator, exchanges: int = EXCHANGES) -> Judged:
    """Both: rank correlation with x within seeds, x exchanged within seeds; supported: at every matched point alike."""
    own = of(cases, "case")
    paper = rank(claim, own, paper_of, rng, exchanges)
    exact = [rank(claim, own, take, rng, exchanges) for take in exacts(claim)]
    null = rank(claim, own, lambda case: null_of(claim, case), rng, exchanges)
    return Judged(paper, all_of(exact), null.answer == YES, differ(claim, own))


def invariance(claim: Claim, cases: Sequence[Case], rng: np.random.Generator, exchanges: int = EXCHANGES) -> Judged:
    """Reproduces: as a value. Supported: within -sesoi .. sesoi of the paper's number, by two one-sided tests.

    The null must be able to fail: where it is equivalent too, it passes.
    """
    own = of(cases, "case")
    target = (claim.paper.low + claim.paper.high) / 2 if claim.paper else NAN

    def near(take: Callable[[Case], float]) -> Answer:
        return equivalent(by_seed(own, take) - target, claim.sesoi)

    null = near(lambda case: null_of(claim, case))
    return Judged(comes_out(claim, own), all_of([*map(near, exacts(claim))]), null.answer == YES, differ(claim, own))


def causal(claim: Claim, cases: Sequence[Case], rng: np.random.Generator, exchanges: int = EXCHANGES) -> Judged:
    """Reproduces: arm beside baseline. Supported: beside every control arm too, and the manipulation took place.

    Log-rank test, exchanged within seeds; the effect is the mean of ln(time / time) over seeds, at least ln sesoi. A
    control arm that does as much passes for the null.
    """
    own, base = of(cases, "case"), of(cases, "baseline")
    paper = later(claim, own, base, rng, exchanges)
    beside = [later(claim, own, of(cases, name), rng, exchanges) for name in claim.beside]
    took_place = all(case.check >= claim.check_least for case in own)
    found = all_of([paper, *beside])
    if paper.answer == NO:
        found = paper
    elif found.answer == NO or not took_place:
        found = found._replace(answer=UNDECIDED)
    passes = any(later(claim, of(cases, name), base, rng, exchanges).answer == YES for name in claim.beside)
    return Judged(paper, found, passes, False)


KINDS: dict[str, Rule] = {
    "value": value,
    "order": count,
    "count": count,
    "event": event,
    "covariation": covariation,
    "invariance": invariance,
    "causal": causal,
}


def least_of(claim: Claim) -> float:
    """Return the smallest p that the claim's least number of seeds can give."""
    n = claim.least
    if claim.kind in ("value", "invariance"):
        return 0.0 if n > 1 else 1.0
    if claim.kind in ("order", "count"):
        chance = SMALLEST if claim.null is not None else claim.chance
        alone = share_p(n, n, chance) if chance else 0.0
        return max(alone, unlike(n, n, 0, n) if claim.controls else 0.0)
    return 2 / math.factorial(len(claim.cases)) ** n if claim.kind == "covariation" else sign_test(n, 0)
