"""What runs say of claims: which run belongs to which group, whether it counts, and its numbers by the names of fields.

A run counts if it is finished, its seed is one of confirmation, it is the first of its seed and condition, and it was
begun after the rules last changed. A run folder holds no time, so when it was begun is the time of its `config.toml`
on disk, which is written once: copies must keep it (cp -a).
Analyses of one run are read from its folder, and made there where they are missing. A comparison is asked about the run
alone; what of it is long is kept in RUN/analysis/audit-NAME/parts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import result_of
from minigrok.analyses.shared.events import evaluations
from minigrok.analyses.shared.units import is_of_condition
from minigrok.audit.answers import NAN, Case
from minigrok.audit.claims import Book, Claim, Group, Quantity
from minigrok.audit.fields import number
from minigrok.config import value_of
from minigrok.errors import MinigrokError
from minigrok.storage.milestones import all_grokked_at, milestones
from minigrok.storage.runs import Run

TASKS = "tasks"  # x of a claim: how many tasks a run has
Say = Callable[[str], None]


class Member(NamedTuple):
    """A run in a group; `why`: the reason for which it does not count, "" if it does."""

    run: Run
    group: str
    why: str


class Found(NamedTuple):
    """Evidence of one claim: cases that count, runs that do not and why, and what is not known of those that do."""

    cases: list[Case]
    left_out: list[str]
    missing: list[str]


def members(book: Book, runs: Sequence[Run]) -> list[Member]:
    """Return every run in its group, in the order given; runs of other conditions are in none."""
    found: list[Member] = []
    for run in runs:
        for group in book.groups.values():
            if is_of_condition(run.config, group.config):
                earlier = [m for m in found if (m.group, m.run.config.seed) == (group.name, run.config.seed)]
                why = _why_not(book, group, run) or ("a repeat of its seed" if any(not m.why for m in earlier) else "")
                found.append(Member(run, group.name, why))
    return found


def _why_not(book: Book, group: Group, run: Run) -> str:
    """Return why a run of a group does not count, or "" if it does."""
    seed = run.config.seed
    if seed not in book.confirm:
        return f"exploratory: seed {seed} is none of {book.confirm[0]}..{book.confirm[-1]}"
    if run.config.intervention.repeat:
        return "a repeat of its seed"
    if not book.changed:
        return "exploratory: the rules have changed and are not sealed"
    if begun_at(run) < book.changed:
        return f"exploratory: begun {begun_at(run)}, before the rules changed"
    try:
        columns, train = evaluations(run), run.config.train
        over = all_grokked_at(milestones(run.config, columns).values()) is not None and train.stop_when_grokked
        wanted = min(train.max_steps, group.config.train.max_steps) if train.max_steps else 0
        whole = over or (columns["step"][-1] >= wanted and train.max_steps >= group.config.train.max_steps)
    except MinigrokError as error:
        return f"damaged: {error.got}"
    return "" if whole else f"unfinished: step {int(columns['step'][-1]):,}"


def begun_at(run: Run) -> str:
    """Return when a run was begun, ISO 8601, UTC."""
    seconds = (run.folder / "config.toml").stat().st_mtime
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Reader:
    """Reads numbers of runs, each result once; `is_making`: makes what is missing, and says what it will cost."""

    book: Book
    is_making: bool
    say: Say
    held: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def number(self, run: Run, quantity: Quantity) -> tuple[float, str]:
        """Return a number of a run, and why it is not known; both of a result that cannot be made."""
        key = (run.folder, quantity.analysis, quantity.protocol)
        if key not in self.held:
            self.held = {known: value for known, value in self.held.items() if known[0] == run.folder}
            try:
                self.held[key] = self._result(run, quantity.analysis, quantity.protocol)
            except (MinigrokError, np.linalg.LinAlgError) as error:  # NumPy's word for a matrix that holds NaN
                why = getattr(error, "got", str(error))
                self.held[key] = f"{run.folder.name}: {quantity.analysis} ({quantity.protocol}): {why}"
        found = self.held[key]
        return (NAN, found) if isinstance(found, str) else (number(found, quantity.field), "")

    def _result(self, run: Run, name: str, protocol: str) -> Any:
        found = result_of(ANALYSES[name], run, self.book.settings[name, protocol], self.say, self.is_making)
        return f"{run.folder.name}: {name} ({protocol}) not made" if found is None else found


def gather(claim: Claim, known: Sequence[Member], reader: Reader) -> Found:
    """Return the evidence of a claim."""
    roles = {name: "case" for name in claim.cases} | {name: "control" for name in claim.controls}
    roles |= {name: name for name in claim.beside} | ({claim.baseline: "baseline"} if claim.baseline else {})
    cases, missing = [], [f"waits for {each.waits}" for each in claim.quantities if each.waits]
    left_out = [f"{m.run.folder.name}: {m.why}" for m in known if m.group in roles and m.why]
    for member in known:
        if member.group in roles and not member.why:
            case, reasons = _case(claim, member, roles[member.group], reader)
            cases.append(case)
            missing += reasons
    return Found(cases, list(dict.fromkeys(left_out)), list(dict.fromkeys(missing)))


def _case(claim: Claim, member: Member, role: str, reader: Reader) -> tuple[Case, list[str]]:
    reasons: list[str] = []

    def of(quantity: Quantity | None) -> float:
        if quantity is None or quantity.waits:
            return NAN
        found, why = reader.number(member.run, quantity)
        reasons.extend([why] if why else [])
        return found

    factor = 1.0 if claim.times is None else of(claim.times)
    config = member.run.config
    x = float(len(config.task.operations)) if claim.x == TASKS else float(value_of(config, claim.x)) if claim.x else NAN
    case = Case(
        seed=config.seed,
        role=role,
        group=member.group,
        paper=of(claim.quantity) * factor,
        exact=tuple(of(each) * factor for each in claim.exact),
        null=of(claim.null),
        x=x,
        target=of(claim.target),
        start=of(claim.start),
        end=of(claim.end),
        trivial=tuple(of(each) for each in claim.trivial),
        check=of(claim.check) if role == "case" else NAN,
        run=member.run.folder.name,
    )
    return case, reasons


def seeds_of(found: Found, group: str) -> list[int]:
    """Return the seeds of a group that count."""
    return sorted({case.seed for case in found.cases if case.group == group})


def lacking(claim: Claim, found: Found, book: Book) -> Mapping[str, list[int]]:
    """Return the seeds that each group of a claim lacks: up to the least number, or, if all have it, all the others.

    None where all have it and something else is missing: runs would not help.
    """
    least = {name: [s for s in book.confirm[: claim.least] if s not in seeds_of(found, name)] for name in claim.groups}
    if any(least.values()):
        return {name: seeds for name, seeds in least.items() if seeds}
    if found.missing:
        return {}
    every = {name: [s for s in book.confirm if s not in seeds_of(found, name)] for name in claim.groups}
    return {name: seeds for name, seeds in every.items() if seeds}
