"""Runs that know nothing of a claim: its own null as evidence, to see how often a rule says yes to it.

value         the exact number scatters about its null with the paper's spread
order, count  each seed holds with the chance of the null
event         dates uniform between start and end of each run
covariation   numbers that do not know x
invariance    numbers anywhere in the range that is possible
causal        all arms have the baseline's law
"""

import numpy as np

from minigrok.audit.answers import SMALLEST, YES, Case
from minigrok.audit.claims import Claim
from minigrok.audit.rules import KINDS

TRIALS, EXCHANGES = 7, 39  # a vacuous rule passes all of them: our choice, for the time that reading takes


def passes_of_null(claim: Claim, rng: np.random.Generator, trials: int = TRIALS, exchanges: int = EXCHANGES) -> float:
    """Return how often the rule says that evidence from the claim's own null supports it, a share of the trials."""
    rule = KINDS[claim.kind]
    return float(
        np.mean([rule(claim, null_cases(claim, rng), rng, exchanges).supported.answer == YES for _ in range(trials)])
    )


def null_cases(claim: Claim, rng: np.random.Generator) -> list[Case]:
    """Return evidence of the claim's least number of seeds, drawn from its null."""
    seeds = range(claim.least)
    if claim.kind == "causal":
        roles = ("case", "baseline", *claim.beside)
        times = {(role, seed): float(np.exp(rng.normal(9.5, 0.2))) for role in roles for seed in seeds}
        return [Case(seed, role, exact=(t,), end=1e6, check=claim.check_least) for (role, seed), t in times.items()]
    if claim.kind == "covariation":
        return [
            Case(
                seed, group=group, paper=y, exact=(y,) * len(claim.exact), null=float(rng.standard_normal()), x=float(i)
            )
            for seed in seeds
            for i, group in enumerate(claim.cases)
            for y in [float(rng.standard_normal())]
        ]
    cases = [_one(claim, seed, "case", rng) for seed in seeds]
    return cases + [_one(claim, seed, "control", rng) for seed in seeds if claim.controls]


def _one(claim: Claim, seed: int, role: str, rng: np.random.Generator) -> Case:
    copies = len(claim.exact)
    if claim.kind == "event":
        on, target = rng.uniform(0, 1, 2)
        early = tuple(rng.uniform(0, 1, len(claim.trivial)))
        return Case(seed, role, paper=on, exact=(on,) * copies, target=target, start=0, end=1, trivial=early)
    low, high = claim.range or (-1.0, 1.0)
    low, high = max(low, -1e6), min(high, 1e6)
    if claim.kind == "invariance":
        return Case(seed, role, exact=tuple(rng.uniform(low, high, copies)), null=rng.uniform(low, high))
    if claim.kind == "value":
        paper = claim.paper
        spread = max((paper.high - paper.low) / 4 if paper and np.isfinite(paper.high - paper.low) else 0, claim.sesoi)
        return Case(seed, role, exact=tuple(rng.normal(claim.chance or 0, spread, copies)), null=0.0)
    chance = claim.chance if claim.chance is not None and role == "case" else 0.5 if claim.controls else SMALLEST
    inside, outside = (float(claim.sign), -float(claim.sign)) if claim.kind == "order" else _sides(claim, low, high)
    number = inside if rng.uniform() < chance else outside
    return Case(seed, role, paper=number, exact=(number,) * copies, null=outside)


def _sides(claim: Claim, low: float, high: float) -> tuple[float, float]:
    """Return a number that counts, and one of the possible ones that does not."""
    first, last = claim.holds or (low, high)
    inside = min(max((max(first, low) + min(last, high)) / 2, low), high)
    return inside, high if last < high else low
