"""What an earlier audit read: cases of runs that are no longer at hand, kept in its audit.json.

The numbers are believed as they stand in that file, under the same rules: another hash is refused. A run that is at
hand counts in place of what is kept of its seed and condition.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigrok.audit.answers import NAN, Case
from minigrok.audit.claims import Book
from minigrok.checks import require
from minigrok.errors import ConfigError
from minigrok.foreign import read_file

FORMAT = 1  # of audit.json
LARGEST = 10_000_000  # bytes of audit.json: more is something else: our choice
NUMBERS = ("paper", "null", "x", "target", "start", "end", "check")  # of a case, each one number
SEVERAL = ("exact", "trivial")
ENDLESS = {"inf": math.inf, "-inf": -math.inf}  # never, as a time; JSON has no word for it


@dataclass(frozen=True)
class Earlier:
    """Cases by claim, those that count and those of exploration, and the runs that they are of."""

    cases: Mapping[str, list[Case]] = field(default_factory=dict)
    explored: Mapping[str, list[Case]] = field(default_factory=dict)
    runs: Sequence[dict[str, Any]] = ()


def case_json(case: Case, counts: bool, is_whole: bool) -> dict[str, Any]:
    """Return a case as JSON; `is_whole`: every number that can be known is."""
    numbers = {name: _word(getattr(case, name)) for name in NUMBERS}
    several = {name: [_word(number) for number in getattr(case, name)] for name in SEVERAL}
    head = {"run": case.run, "seed": case.seed, "role": case.role, "group": case.group}
    return head | {"counts": counts, "whole": is_whole} | numbers | several


def read_table(path: Path) -> dict[str, Any]:
    """Return an audit.json as a table; a ConfigError if it is none."""
    try:
        table = json.loads(read_file(path, LARGEST))
        rows = [(str(row["id"]), str(row["verdict"])) for row in table["claims"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        got = f"{path}: {type(error).__name__}: {error}"
        raise ConfigError("an audit.json", got, "name one that `minigrok audit` wrote") from error
    require(table.get("format") == FORMAT, "the format of audit.json", f"is {FORMAT}", table.get("format"))
    require(len(rows) > 0, "an audit.json", "has claims", "none")
    return dict(table)


def read_earlier(path: Path, book: Book) -> Earlier:
    """Return what an audit.json holds of runs; a ConfigError if its rules are others, or it holds none."""
    table = read_table(path)
    try:
        rules, runs = str(table["rules"]["sha256"]), [dict(run) for run in table["runs"]]
        rows = {row["id"]: [(_case(each), each["counts"]) for each in row["evidence"] if each["whole"]]
                for row in table["claims"]}  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        got = f"{path}: {type(error).__name__}: {error}"
        raise ConfigError("an audit.json with its evidence", got, "make it anew from its runs") from error
    require(rules == book.sha256, f"the rules of {path}", f"are these, {book.sha256[:12]}", rules[:12])
    counting = {name: [case for case, counts in cases if counts] for name, cases in rows.items()}
    others = {name: [case for case, counts in cases if not counts] for name, cases in rows.items()}
    return Earlier(counting, others, [run for run in runs if run.get("group")])


def joined(cases: Sequence[Case], kept: Sequence[Case]) -> list[Case]:
    """Return cases, and those kept of conditions and seeds that are not among them."""
    there = {(case.group, case.seed) for case in cases}
    return [*cases, *(case for case in kept if (case.group, case.seed) not in there)]


def _case(table: Mapping[str, Any]) -> Case:
    numbers = {name: _number(table[name]) for name in NUMBERS}
    several = {name: tuple(_number(each) for each in table[name]) for name in SEVERAL}
    words = {name: str(table[name]) for name in ("run", "role", "group")}
    return Case(int(table["seed"]), **words, **numbers, **several)  # type: ignore[arg-type]


def _word(number: float) -> float | str | None:
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else str(number)


def _number(word: Any) -> float:
    return NAN if word is None else ENDLESS[word] if isinstance(word, str) else float(word)
