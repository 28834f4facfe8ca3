"""The audit: claims, runs, rules and the table, put together; and its JSON.

row       one claim: both answers, the verdict, what was left out, what is missing; its evidence, run by run
audit.json    rules (sha256, when they changed), runs, rows; `audit.schema.json` says what it holds
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minigrok.audit.answers import NAN, Answer, Case
from minigrok.audit.claims import UNMEASURABLE, Book, Claim
from minigrok.audit.earlier import FORMAT, Earlier, case_json, joined, read_table
from minigrok.audit.evidence import Found, Reader, Say, gather, lacking, members
from minigrok.audit.rules import KINDS, Judged
from minigrok.audit.verdict import VERDICTS, corrected, enough, verdict
from minigrok.checks import nearest
from minigrok.errors import ConfigError
from minigrok.rng import rng
from minigrok.storage.runs import Run
from minigrok.version import __version__


@dataclass(frozen=True)
class Row:
    """What came out for one claim; `lacks`: seeds by group that would be needed to decide it.

    `explored`: the same facts of exploration runs, which no verdict sees.
    """

    claim: Claim
    verdict: str
    judged: Judged
    adjusted_p: float
    left_out: list[str]
    missing: list[str]
    lacks: dict[str, list[int]]
    cases: list[Case]
    explored: Judged
    explored_cases: list[Case]


@dataclass(frozen=True)
class Audit:
    """All rows, and the runs that they are of: name, seed, group, and why one does not count."""

    book: Book
    rows: list[Row]
    runs: list[dict[str, Any]]


def chosen(book: Book, ids: Sequence[str]) -> list[Claim]:
    """Return the claims whose id begins with one of the words, all for none; a ConfigError if no id does."""
    for word in ids:
        if not any(claim.id.startswith(word) for claim in book.claims):
            raise ConfigError("the beginning of a claim's id", repr(word), nearest(word, [c.id for c in book.claims]))
    return [claim for claim in book.claims if not ids or claim.id.startswith(tuple(ids))]


def audit(
    book: Book,
    runs: Sequence[Run],
    ids: Sequence[str] = (),
    is_making: bool = True,
    say: Say = print,
    earlier: Earlier | None = None,
) -> Audit:
    """Decide the claims. A family is corrected for all of its claims: one that was not asked for has p = 1.

    Exploration runs are read as they lie: no analysis is made for them. `earlier` is what another audit read of runs
    that are not at hand.
    """
    kept = earlier or Earlier()
    for run in runs:
        run.require_own("runs that minigrok trained: the claims are about runs whose start is known")
    known, reader = members(book, runs), Reader(book, is_making, say)
    claims = chosen(book, ids)
    found = [_with(gather(claim, known, reader), kept.cases.get(claim.id, ())) for claim in claims]
    seen = [m._replace(why="") for m in known if m.why.startswith("exploratory")]
    other = Reader(book, False, say)
    explored = [joined(gather(claim, seen, other).cases, kept.explored.get(claim.id, ())) for claim in claims]
    judged = [_judged(claim, each.cases) for claim, each in zip(claims, found, strict=True)]
    measured = [claim.family for claim in book.claims if claim.kind != UNMEASURABLE]
    sizes = {family: measured.count(family) for family in measured}
    final = corrected(judged, [claim.family for claim in claims], sizes)
    rows = [_row(book, *each) for each in zip(claims, found, final, explored, strict=True)]
    of_runs = {m.run.folder: (m.group, m.why) for m in known}
    listed = [
        {"run": run.folder.name, "seed": run.config.seed, "group": group, "left_out": why}
        for run in runs
        for group, why in [of_runs.get(run.folder, ("", "of no condition that a claim names"))]
    ]
    at_hand = {(run["group"], run["seed"]) for run in listed}
    listed += [run for run in kept.runs if (run["group"], run["seed"]) not in at_hand]
    return Audit(book, rows, listed)


def _with(found: Found, kept: Sequence[Case]) -> Found:
    return found._replace(cases=joined(found.cases, kept))


def _judged(claim: Claim, cases: Sequence[Case]) -> Judged:
    if claim.kind == UNMEASURABLE or not any(case.role == "case" for case in cases):
        nothing = Answer("undecided")
        return Judged(nothing, nothing, False, False)
    return KINDS[claim.kind](claim, cases, rng(0, f"audit/{claim.id}"), 10_000)


def _row(book: Book, claim: Claim, found: Found, final: tuple[Judged, float], seen: list[Case]) -> Row:
    judged, adjusted = final
    explored = _judged(claim, seen)
    if claim.kind == UNMEASURABLE:
        return Row(claim, VERDICTS[-1], judged, NAN, [], [], {}, [], explored, [])
    says = verdict(judged, enough(claim, judged, found.cases))
    lacks = {} if says != "undecided" else dict(lacking(claim, found, book))
    few = [f"{name}: {len(seeds)} more seeds" for name, seeds in lacks.items()]
    missing = found.missing + few
    return Row(claim, says, judged, adjusted, found.left_out, missing, lacks, found.cases, explored, seen)


def to_json(audit: Audit) -> str:
    """Return audit.json."""
    book = audit.book
    rules = {"sha256": book.sha256, "changed": book.changed, "confirm": [book.confirm[0], book.confirm[-1]]}
    rows = [row_json(row) for row in audit.rows]
    head = {"format": FORMAT, "minigrok": __version__, "rules": rules, "runs": audit.runs, "claims": rows}
    return json.dumps(head, indent=1, allow_nan=False)


def row_json(row: Row) -> dict[str, Any]:
    """Return a row of audit.json: numbers that are not known are null."""
    claim, judged = row.claim, row.judged
    paper = None if claim.paper is None else asdict(claim.paper)
    found = {
        "id": claim.id,
        "says": claim.says,
        "place": claim.place,
        "family": claim.family,
        "kind": claim.kind,
        "why": claim.why,
        "verdict": row.verdict,
        "paper": paper,
        "reproduces": judged.reproduces._asdict(),
        "supported": judged.supported._asdict() | {"adjusted_p": row.adjusted_p},
        "null_passes": judged.null_passes,
        "protocols_differ": judged.differs,
        "least": claim.least,
        "left_out": row.left_out,
        "missing": row.missing,
        "lacks": row.lacks,
        "explored": {"reproduces": row.explored.reproduces._asdict(), "supported": row.explored.supported._asdict()},
        "evidence": [
            *(
                case_json(case, True, not any(why.startswith(f"{case.run}: ") for why in row.missing))
                for case in row.cases
            ),
            *(case_json(case, False, True) for case in row.explored_cases),
        ],
    }
    return _plain(found)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verdicts(path: Path) -> dict[str, str]:
    """Return the verdicts of an audit.json by id; a ConfigError if it is none."""
    return {str(row["id"]): str(row["verdict"]) for row in read_table(path)["claims"]}


def changes(audit: Audit, before: Mapping[str, str]) -> list[str]:
    """Return the verdicts that are not those of before, in words."""
    now = {row.claim.id: row.verdict for row in audit.rows}
    unknown = [f"{name}: was not there" for name in now if name not in before]
    return unknown + [f"{name}: {now[name]}, was {was}" for name, was in before.items() if now.get(name, was) != was]
