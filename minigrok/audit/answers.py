"""The answers that rules are made of: shares, ranks, equivalence, survival, each with its interval and its p.

A case is what one run says of a claim. A seed is one unit: what it has in several conditions is averaged.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrok.audit.claims import Claim, Quantity
from minigrok.engine import Array
from minigrok.statistics.decisions import beyond, equivalence, share_p, unlike
from minigrok.statistics.exchange import SIGNIFICANT, exchanged, least_p, p_value
from minigrok.statistics.intervals import mean_interval, next_interval, share_interval
from minigrok.statistics.small_samples import centred_ranks, flip_test
from minigrok.statistics.survival import log_rank

YES, NO, UNDECIDED = "yes", "no", "undecided"
SMALLEST = 0.05  # chance that a measured null is granted at least, since it has few draws: our choice
NAN = math.nan


@dataclass(frozen=True)
class Case:
    """What one run says of a claim; nan: it cannot. `role`: "case", "control", "baseline", or a group beside."""

    seed: int
    role: str = "case"
    group: str = ""
    paper: float = NAN
    exact: tuple[float, ...] = ()
    null: float = NAN
    x: float = NAN
    target: float = NAN
    start: float = NAN
    end: float = NAN
    trivial: tuple[float, ...] = ()
    check: float = NAN
    run: str = ""


class Answer(NamedTuple):
    """Yes, no or undecided; the estimate, its 95 % interval, seeds, p, and the smallest p that they could give."""

    answer: str
    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    n: int = 0
    p: float = NAN
    least_p: float = NAN


def of(cases: Sequence[Case], role: str) -> list[Case]:
    """Return the cases of a role."""
    return [case for case in cases if case.role == role]


def by_seed(cases: Sequence[Case], take: Callable[[Case], float], join: Callable[[Array], Any] = np.mean) -> Array:
    """Return a number of each seed (seeds,), the mean over its conditions; seeds without one are left out."""
    found: dict[int, list[float]] = {}
    for case in cases:
        number = take(case)
        if not math.isnan(number):
            found.setdefault(case.seed, []).append(number)
    return np.array([float(join(np.array(found[seed]))) for seed in sorted(found)])


def paper_of(case: Case) -> float:
    """Return the number by the paper's protocol."""
    return case.paper


def exact_of(i: int) -> Callable[[Case], float]:
    """Return what takes the exact number i of a case."""
    return lambda case: case.exact[i]


def exacts(claim: Claim) -> list[Callable[[Case], float]]:
    """Return what takes each exact number of a case that waits for nothing."""
    return [exact_of(i) for i, quantity in enumerate(claim.exact) if not quantity.waits]


def null_of(claim: Claim, case: Case) -> float:
    """Return the null of a case: its own, or the claim's number."""
    return claim.chance if claim.null is None and claim.chance is not None else case.null


def holds(claim: Claim, quantity: Quantity | None, number: float) -> float:
    """+1: the claim holds, -1: it does not, 0: a tie; nan: not known."""
    if math.isnan(number) or quantity is None:
        return NAN
    if claim.kind == "order":
        return float(np.sign(claim.sign * number))
    low, high = quantity.holds or claim.holds or (NAN, NAN)
    return 1.0 if low <= number <= high else -1.0


def mean_of(values: Array) -> tuple[float, float, float, int]:
    """Mean, its interval (a point where nothing varies), and n."""
    low, high, n = mean_interval(values)
    mean = float(values.mean()) if n else NAN
    return (mean, mean, mean, n) if n > 1 and math.isnan(low) else (mean, low, high, n)


def gains(claim: Claim, cases: Sequence[Case], take: Callable[[Case], float]) -> Array:
    """Return by how much the number of each seed is beyond its null, in the claim's direction (seeds,)."""
    return by_seed(cases, lambda case: claim.sign * (take(case) - null_of(claim, case)))


def exceeds(claim: Claim, gain: Array) -> Answer:
    """Answer whether the mean gain lies beyond sesoi."""
    mean, low, high, n = mean_of(gain)
    p = beyond(gain, claim.sesoi)
    sure = n > 1 and p <= SIGNIFICANT
    answer = UNDECIDED if not sure else YES if mean > claim.sesoi else NO
    return Answer(answer, mean, low, high, n, p, 0.0 if n > 1 else 1.0)


def in_paper(claim: Claim, low: float, high: float) -> bool:
    """Whether low .. high meets what the paper states, give or take the tolerance."""
    paper = claim.paper
    return paper is not None and low <= paper.high + claim.tolerance and high >= paper.low - claim.tolerance


def comes_out(claim: Claim, cases: Sequence[Case]) -> Answer:
    """Answer whether the prediction interval of one more seed meets what the paper states."""
    values = by_seed(cases, paper_of)
    low, high, n = next_interval(values)
    mean = float(values.mean()) if n else NAN
    if n > 1 and math.isnan(low):
        low = high = mean
    answer = UNDECIDED if n < 2 else YES if in_paper(claim, low, high) else NO
    return Answer(answer, mean, low, high, n)


def differ(claim: Claim, cases: Sequence[Case]) -> bool:
    """Whether the paper's protocol and the exact one differ by more than the rounding floor, on average."""
    off = by_seed(cases, lambda case: abs(case.paper - case.exact[0]))
    return bool(len(off)) and float(off.mean()) > claim.floor


def share(signs: Array, chance: float | None, needed: float, controls: Array | None) -> Answer:
    """Share of seeds with +1 among those without a tie, against chance and against that of controls."""
    signs = signs[signs != 0]
    k, n = int((signs > 0).sum()), len(signs)
    if not n or (chance is not None and math.isnan(chance)):
        return Answer(UNDECIDED)
    low, high = (float(end) for end in share_interval(k, n))
    tests, leasts, is_more = [], [], True
    if chance is not None:
        tests, leasts, is_more = [share_p(k, n, chance)], [share_p(n, n, chance)], k / n > chance
    if controls is not None:
        others, of_them = int((controls > 0).sum()), len(controls)
        tests, leasts = [*tests, unlike(k, n, others, of_them)], [*leasts, unlike(n, n, 0, of_them)]
        is_more = is_more and others * n < k * of_them
    p, least, sure = max(tests, default=NAN), max(leasts, default=NAN), all(p <= SIGNIFICANT for p in tests)
    is_no = high < needed or (sure and not is_more)
    answer = NO if is_no else YES if sure and k / n >= needed else UNDECIDED
    return Answer(answer, k / n, low, high, n, p, least)


def all_of(answers: Sequence[Answer]) -> Answer:
    """Yes if all are, no if one is; the numbers are those of the largest p."""
    if not answers:
        return Answer(UNDECIDED)
    worst = max(answers, key=lambda each: (math.isnan(each.p), each.p))
    found = {each.answer for each in answers}
    answer = NO if NO in found else YES if found == {YES} else UNDECIDED
    return worst._replace(answer=answer, least_p=max(each.least_p for each in answers))


def before_target(cases: Sequence[Case], take: Callable[[Case], float]) -> Array:
    """+1 if the event came before its target in every condition of a seed, else -1, as for one that never came."""
    return by_seed(cases, lambda case: 1.0 if take(case) < case.target else -1.0, np.min)


def chance_before(case: Case) -> float:
    """Return the chance that an event anywhere between start and end comes before its target."""
    return float(np.clip((case.target - case.start) / (case.end - case.start), 0, 1)) if case.end > case.start else 1.0


def scatters_less(cases: Sequence[Case], i: int, rng: np.random.Generator) -> float:
    """Sign flips: |ln(target / event)| about its median is smaller than that of trivial predictor i; 1 if larger."""
    known = [case for case in cases if case.exact[0] > 0 and case.trivial[i] > 0]
    if not known:
        return NAN
    target = np.log([case.target for case in known])
    each = target - np.log([[case.exact[0], case.trivial[i]] for case in known]).T  # (2, n)
    off = np.abs(each - np.median(each, axis=1, keepdims=True))
    found = {id(case): gain for case, gain in zip(known, off[1] - off[0], strict=True)}
    gain = by_seed(known, lambda case: float(found[id(case)]))
    return flip_test(gain, rng) if gain.sum() > 0 else 1.0


def rank(
    claim: Claim, cases: Sequence[Case], take: Callable[[Case], float], rng: np.random.Generator, exchanges: int
) -> Answer:
    """Answer whether a number goes with x in the claim's direction: Spearman's rho within seeds, p by exchange."""
    known = [case for case in cases if np.isfinite(take(case))]
    seeds = [case.seed for case in known]
    known = [case for case in known if seeds.count(case.seed) > 1]
    groups = [[case for case in known if case.seed == seed] for seed in dict.fromkeys(case.seed for case in known)]
    if not groups:
        return Answer(UNDECIDED)
    X = [centred_ranks(np.array([case.x for case in group])) for group in groups]
    Y = [claim.sign * centred_ranks(np.array([take(case) for case in group])) for group in groups]
    rho = np.array([x @ y / math.sqrt(x @ x * (y @ y)) if y @ y > 0 else 0.0 for x, y in zip(X, Y, strict=True)])
    x, y = np.concatenate(X), np.concatenate(Y)
    labels = np.repeat(np.arange(len(groups)), [len(each) for each in X])
    drawn, seen = np.abs(exchanged(x, labels, rng, exchanges) @ y), abs(float(x @ y))
    p = p_value(seen, drawn)
    mean, low, high, n = mean_of(rho)
    is_no = high < claim.sesoi or (p <= SIGNIFICANT and mean < 0)
    answer = NO if is_no else YES if p <= SIGNIFICANT and mean >= claim.sesoi else UNDECIDED
    return Answer(answer, mean, low, high, n, p, least_p(seen, drawn))


def equivalent(values: Array, bound: float) -> Answer:
    """Answer whether the mean lies inside -bound .. bound."""
    mean, low, high, n = mean_of(values)
    p = equivalence(values, bound)
    answer = YES if p <= SIGNIFICANT else NO if low > bound or high < -bound else UNDECIDED
    return Answer(answer, mean, low, high, n, p, 0.0 if n > 1 else 1.0)


def later(claim: Claim, arm: Sequence[Case], base: Sequence[Case], rng: np.random.Generator, exchanges: int) -> Answer:
    """Log-rank of two groups and the mean of ln(time / time) of the seeds that both have; censored at the end."""
    if not arm or not base:
        return Answer(UNDECIDED)
    lives = [
        (
            np.array([case.exact[0] if np.isfinite(case.exact[0]) else case.end for case in some]),
            np.array([bool(np.isfinite(case.exact[0])) for case in some]),
            np.array([case.seed for case in some]),
        )
        for some in (arm, base)
    ]
    test = log_rank(lives, rng, exchanges)
    times = [dict(zip(seeds.tolist(), t.tolist(), strict=True)) for t, _, seeds in lives]
    both = sorted(times[0].keys() & times[1].keys())
    ratios = np.array([claim.sign * math.log(times[0][seed] / times[1][seed]) for seed in both])
    mean, low, high, n = mean_of(ratios)
    whole = lives[0][1].all() if claim.sign > 0 else lives[1][1].all()  # a censored time is a bound from below
    is_no = n > 1 and whole and high < math.log(claim.sesoi)
    is_yes = n > 0 and test.p <= SIGNIFICANT and mean >= math.log(claim.sesoi)
    answer = NO if is_no else YES if is_yes else UNDECIDED
    return Answer(answer, mean, low, high, n, test.p, test.least)
