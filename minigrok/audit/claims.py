"""What a claim of the paper is, as data; `book` reads them from `claims.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minigrok.config import Config

STATISTICS = {  # the one that each kind has
    "value": "mean",
    "order": "share of seeds",
    "count": "share of seeds",
    "event": "seeds before",
    "covariation": "rank correlation within seeds",
    "invariance": "two one-sided tests",
    "causal": "log-rank",
}
UNMEASURABLE = "not measurable as stated"
FAMILIES = ("order", "geometry", "weight decay", "redundancy", "intervention", "spectra")  # the six phenomena, v3
Pair = tuple[float, float]


@dataclass(frozen=True)
class Quantity:
    """A number of a run: a field of an analysis, or what it waits for, such as "analysis orbits"."""

    analysis: str = ""
    field: str = ""
    protocol: str = "exact"
    waits: str = ""
    holds: Pair | None = None  # for claims of kind count: what counts, if not the claim's own range


@dataclass(frozen=True)
class Paper:
    """What the paper states: a range of values, of how many runs and seeds, and whether it is printed or in a plot."""

    low: float
    high: float
    n: int
    source: str
    unit: str = ""
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One entry; what is what: docs/claims.md. Quantities that are left out do not exist for this kind of claim."""

    id: str
    says: str
    place: str
    family: str
    kind: str
    why: str = ""  # of an interpretive one: the reason; else a note
    paper: Paper | None = None
    protocol: str = ""
    quantity: Quantity | None = None
    exact: tuple[Quantity, ...] = ()
    times: Quantity | None = None  # a second number that multiplies the first
    null: Quantity | None = None
    chance: float | None = None  # a null that is a number
    drawn: str = ""  # how the null is drawn
    statistic: str = ""
    direction: str = "+"
    holds: Pair | None = None
    target: Quantity | None = None  # event: when the other event is
    start: Quantity | None = None  # event: from when on it could be
    end: Quantity | None = None
    trivial: tuple[Quantity, ...] = ()
    x: str = ""  # covariation: a setting, or "tasks"
    check: Quantity | None = None  # causal: the manipulation's own measure, at least `check_least`
    check_least: float = 0.0
    cases: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    baseline: str = ""
    beside: tuple[str, ...] = ()
    sesoi: float = 0.0
    sesoi_why: str = ""
    tolerance: float = 0.0
    floor: float = 0.0  # of rounding: the two protocols may differ by so much
    least: int = 0
    least_why: str = ""
    range: Pair | None = None

    @property
    def sign(self) -> int:
        """+1 or -1."""
        return -1 if self.direction == "-" else 1

    @property
    def quantities(self) -> list[Quantity]:
        """Return all that must be known of a run."""
        several = (self.quantity, *self.exact, self.times, self.null, self.target, self.start, self.end)
        return [each for each in (*several, *self.trivial, self.check) if each is not None]

    @property
    def groups(self) -> list[str]:
        """Names of all groups of runs that it needs."""
        return list(dict.fromkeys(name for name in (*self.cases, self.baseline, *self.beside, *self.controls) if name))


@dataclass(frozen=True)
class Group:
    """Runs of one condition; `source` names the group whose run of the same seed gives an intervention its plane."""

    name: str
    config: Config
    source: str = ""


@dataclass(frozen=True)
class Book:
    """All that claims.toml says; `sha256` of the rules, `changed` when they last were, ISO 8601 ("": just now)."""

    claims: tuple[Claim, ...]
    groups: Mapping[str, Group]
    settings: Mapping[tuple[str, str], Any] = field(repr=False)
    confirm: range
    exploratory: tuple[int, ...]
    sha256: str
    changed: str
