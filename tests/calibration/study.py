"""A study simulates claims of one analysis under a null: how often p <= .05, how often an interval holds the truth.

    size        share of the draws with p <= .05; a draw without a p is one without a finding
    coverage    share of the draws whose interval holds the truth, of those where an interval is given
    power       share of the draws in which a planted effect is found, p <= .05
A claim states a rate and a sense: "=" this rate, "<=" at most, ">=" at least, "~" nothing, it is measured alone.
A claim is kept where the counts of its draws have a chance above TAIL, on each side that the sense forbids. The table
has some 280 such sides, so less than one table in thirty raises a false alarm; seeds are fixed, so it does so for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from scipy.stats import binom

from minigrok.engine import Array
from minigrok.rng import rng as stream
from minigrok.statistics.exchange import SIGNIFICANT
from minigrok.statistics.intervals import LEVEL

Outcome = bool | None  # rejected, covered or found; None: no p, no interval
DRAWS = 500
TAIL = 1e-4


class Count(NamedTuple):
    """Draws of a study at one n: rejected, covered or found; of how many; with a p or an interval."""

    hits: int
    among: int
    given: int


class Claim(NamedTuple):
    """What a column of a table promises."""

    column: str
    what: str  # "size", "coverage", "power"
    sense: str
    rate: float | Callable[[int], float]

    def at(self, n: int) -> float:
        """Return the stated rate at n."""
        return self.rate(n) if callable(self.rate) else self.rate

    def stated(self, sizes: Sequence[int]) -> str:
        """Return the statement in words."""
        rates = list(dict.fromkeys(digits(self.at(n)) for n in sizes))
        words = {"=": "", "<=": "at most ", ">=": "at least "}
        return words[self.sense] + ", ".join(rates) if self.sense in words else "nothing"

    def is_kept(self, n: int, count: Count) -> bool:
        """Say whether a count agrees with the statement at n."""
        law = binom(count.among, self.at(n))
        below, above = law.cdf(count.hits), law.sf(count.hits - 1)
        return not ((self.sense in ("=", ">=") and below < TAIL) or (self.sense in ("=", "<=") and above < TAIL))


def size(column: str, sense: str = "<=") -> Claim:
    """Claim of a p."""
    return Claim(column, "size", sense, SIGNIFICANT)


def coverage(column: str, sense: str = "=", rate: float | Callable[[int], float] = LEVEL) -> Claim:
    """Claim of an interval or a band."""
    return Claim(column, "coverage", sense, rate)


def power(column: str) -> Claim:
    """No claim: how often a planted effect is found."""
    return Claim(column, "power", "~", 0.0)


class Study(NamedTuple):
    """Claims of one analysis under one null.

    Attributes
    ----------
    analysis, null : str     the null, or the effect that is planted, in words
    claims : tuple of Claim
    draw : (rng, n) -> one outcome a claim
    sizes : tuple of int     n
    unit : str               what n counts
    draws : int              at each n; fewer where a draw is slow
    """

    analysis: str
    null: str
    claims: tuple[Claim, ...]
    draw: Callable[..., Sequence[Outcome]]
    sizes: tuple[int, ...] = (3, 5, 10)
    unit: str = "seeds"
    draws: int = DRAWS

    @property
    def name(self) -> str:
        """Name of the study, and of its random streams."""
        return f"{self.analysis}: {self.null}"

    def counts(self) -> list[list[Count]]:
        """Return the counts of each claim at each n."""
        found: list[list[Count]] = [[] for _ in self.claims]
        for n in self.sizes:
            rng = stream(n, f"calibration/{self.name}")
            drawn = [self.draw(rng, n) for _ in range(self.draws)]
            for column, claim, seen in zip(found, self.claims, zip(*drawn, strict=True), strict=True):
                known = [each for each in seen if each is not None]
                among = len(known) if claim.what == "coverage" else self.draws
                column.append(Count(sum(known), among, len(known)))
        return found

    def broken(self, counts: list[list[Count]]) -> list[str]:
        """Return what is not kept, in words."""
        return [
            f"{self.name}, {claim.column}: {each.hits} of {each.among} at n = {n}, stated {claim.stated([n])}"
            for claim, column in zip(self.claims, counts, strict=True)
            for n, each in zip(self.sizes, column, strict=True)
            if not claim.is_kept(n, each)
        ]

    def rows(self, counts: list[list[Count]]) -> list[list[str]]:
        """Return a row of the table for each claim."""
        return [
            [*self.head(claim), ", ".join(self._measured(each) for each in column)]
            for claim, column in zip(self.claims, counts, strict=True)
        ]

    def head(self, claim: Claim) -> list[str]:
        """Return the cells of a claim that nothing has to be measured for."""
        n = f"{', '.join(map(str, self.sizes))} {self.unit}"
        words = [] if claim.what == "power" else [claim.what, claim.stated(self.sizes)]
        return [f"`{self.analysis}`", claim.column, self.null, n, *words]

    def _measured(self, count: Count) -> str:
        if not count.given:
            return "none"
        share = round(100 * count.given / self.draws)
        return digits(count.hits / count.among) + (f" ({share} %)" if share < 100 else "")


def digits(rate: float) -> str:
    """Return a rate to three digits, .050, and 1 as 1."""
    return f"{rate:.3f}".removeprefix("0") if rate < 1 else "1"


def rejects(p: float | None) -> Outcome:
    """Return whether p is significant; None where there is no p."""
    return None if p is None or p != p else bool(p <= SIGNIFICANT)


def holds(low: float | None, truth: float, high: float | None) -> Outcome:
    """Return whether an interval holds the truth; an end of None is open, and without both there is no interval."""
    ends = [None if end is None or end != end else end for end in (low, high)]
    if ends == [None, None]:
        return None
    return bool((ends[0] is None or ends[0] <= truth) and (ends[1] is None or truth <= ends[1]))


def inside(x: float, band: Array) -> Outcome:
    """Return whether a draw lies in a band (2,); None where there is no band."""
    return holds(band[0], x, band[1])
