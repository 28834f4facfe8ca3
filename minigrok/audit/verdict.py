"""From facts to a verdict, by a table.

The first row that fits decides; None fits everything. A "yes" that Holm's correction within its family does not leave
at .05 is "undecided" before the table is read.
"""

from collections.abc import Mapping, Sequence

from minigrok.audit.answers import NO, UNDECIDED, YES, Case
from minigrok.audit.claims import Claim
from minigrok.audit.rules import Judged
from minigrok.statistics.decisions import holm
from minigrok.statistics.exchange import SIGNIFICANT

VERDICTS = (YES, NO, UNDECIDED, "uninformative", "artefact", "not measurable as stated")
COLUMNS = ("enough seeds, nothing waits", "the null passes too", "protocols differ", "reproduces", "supported")
TABLE: tuple[tuple[bool | None, bool | None, bool | None, str | None, str | None, str], ...] = (
    (False, None, None, None, None, UNDECIDED),
    (True, True, None, None, None, "uninformative"),
    (True, False, True, YES, NO, "artefact"),
    (True, False, None, None, YES, YES),
    (True, False, None, None, NO, NO),
    (True, False, None, None, UNDECIDED, UNDECIDED),
)


def enough(claim: Claim, judged: Judged, cases: Sequence[Case]) -> bool:
    """Whether the answer has the least number of seeds, and so has each condition of the claim; nothing waits."""
    seeds = [len({case.seed for case in cases if case.group == group}) for group in claim.cases]
    waits = any(quantity.waits for quantity in claim.quantities)
    return min(judged.supported.n, *seeds) >= claim.least and not waits


def verdict(judged: Judged, enough: bool) -> str:
    """Return what the table says of the facts."""
    facts = (enough, judged.null_passes, judged.differs, judged.reproduces.answer, judged.supported.answer)
    fits = (row[-1] for row in TABLE if all(want in (None, fact) for want, fact in zip(row, facts, strict=False)))
    return next(fits)


def corrected(
    judged: Sequence[Judged], families: Sequence[str], sizes: Mapping[str, int]
) -> list[tuple[Judged, float]]:
    """Return the facts after Holm's correction within each family of so many claims, and the adjusted p of each."""
    adjusted = [float("nan")] * len(judged)
    for family in dict.fromkeys(families):
        rows = [i for i, name in enumerate(families) if name == family]
        known = [judged[i].supported.p for i in rows]
        others = [1.0] * max(sizes.get(family, 0) - sum(p == p for p in known), 0)  # claims that have no p yet
        for i, p in zip(rows, holm([*known, *others]), strict=False):
            adjusted[i] = p
    found = []
    for facts, p in zip(judged, adjusted, strict=True):
        lost = facts.supported.answer == YES and not p <= SIGNIFICANT
        supported = facts.supported._replace(answer=UNDECIDED) if lost else facts.supported
        found.append((facts._replace(supported=supported), p))
    return found
