"""What an entry of the registry will show: its lines in panels, marks, and the caption; no drawing yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from minigrok.analyses.base import Row, plain_row
from minigrok.config import value_of
from minigrok.engine import Array
from minigrok.paper.conditions import Member, unlike
from minigrok.paper.entries import Entry, Quantity
from minigrok.paper.lines import MEASURED, Line, Reader

MARKED = {"first grok": "grok", "grok 90": "90 %", "spike": "spike of D", "onset": "onset of D"}  # names of marks


@dataclass(frozen=True)
class Panel:
    """Lines of one frame, its title, and what colours a portrait."""

    title: str
    lines: list[Line]
    colour: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything that is drawn.

    Attributes
    ----------
    marks : dict         label of a member to (name, step) of what happened in the run
    accuracy : dict      label of a member, and name of a quantity that colours a portrait, to its lines
    failed : str         what could not be read or made, in words
    """

    entry: Entry
    protocol: str
    members: list[Member]
    lacking: list[str]
    quantities: Mapping[str, Quantity]
    panels: list[Panel]
    marks: Mapping[str, list[tuple[str, float]]]
    accuracy: Mapping[tuple[str, str], list[Line]]
    failed: str = ""

    @property
    def caption(self) -> str:
        """Return runs, n, protocol, what is lacking, and what to know of the original."""
        return caption(self.entry, self.members, self.lacking, self.quantities, self.protocol, self.failed)

    def rows(self) -> list[Row]:
        """Return every point that is drawn."""
        rows = []
        for panel in self.panels:
            for line in panel.lines:
                xs = line.x if line.x is not None else [None]
                bands = [np.broadcast_to(b if b.size else np.nan, len(xs)) for b in (line.y, line.low, line.high)]
                own: Row = {"quantity": line.quantity.name, "run": line.member.run.folder.name}
                own |= {"condition": line.member.condition, "seed": line.member.run.config.seed}
                own |= {"label": line.label, "part": line.part, "role": line.says or line.role}
                for x, y, low, high in zip(xs, *bands, strict=True):
                    rows.append(plain_row(own | {"x": x, "y": y, "low": low, "high": high}))
        return rows

    def pairs(self, panel: Panel) -> dict[tuple[str, str], tuple[list[Line], list[Line]]]:
        """Return, by run and condition, the lines of the first and of the second quantity of each pair."""
        found = {}
        for first, second in self.entry.shows:
            for member in dict.fromkeys(line.member for line in panel.lines):
                own = [line for line in panel.lines if line.member == member]
                pair = ([x for x in own if x.quantity.name == name] for name in (first, second))
                xs, ys = pair
                if xs and ys:
                    found[f"{member.label}, {second.partition(', ')[2]}", member.condition] = xs, ys
        return found

    def arm(self, line: Line) -> str:
        """Return the arm of a run that stands beside those that are shown."""
        arm = line.member.run.config.intervention.arm
        return arm if line.member.condition in self.entry.beside else ""

    def interpolated(self, line: Line, name: str) -> Array:
        """Return the mean over the parts of a quantity at a line's steps."""
        found = [each for each in self.accuracy[line.member.label, name] if each.role == MEASURED]
        each = [np.interp(line.x, one.x, one.y) for one in found if line.x is not None and one.x is not None]
        return np.asarray(np.mean(each, axis=0))


def planned(entry: Entry, members: Sequence[Member], lacking: list[str], reader: Reader) -> Plan:
    """Return what an entry shows of runs; results that are missing are made.

    Raises
    ------
    RunFolderError
        The runs have nothing of it.
    """
    known = reader.registry.quantities
    lines = {(i, m.label): _shown(i, m, entry, reader) for i in range(len(entry.shows)) for m in members}
    flat = [(i, line) for (i, _), each in lines.items() for line in each]
    reader.require(any(line.role == MEASURED for _, line in flat), entry, members)
    if entry.mean:
        flat = [(i, line) for i in range(len(entry.shows)) for line in averaged([x for j, x in flat if j == i])]
    paired = entry.draw in ("scatter", "portrait")
    panels = _portraits(entry, flat) if paired else _panels(entry, flat)
    wanted = [] if entry.draw in ("points", "heat", "scatter") else [*entry.marks]
    marks = {m.label: _marks(m, wanted, reader) for m in members}
    names = [c for c in entry.colours if c not in ("", "step")]
    accuracy = {(m.label, name): reader.lines(m, name) for name in names for m in members}
    plan = Plan(entry, reader.protocol, list(members), lacking, known, panels, marks, accuracy, reader.says())
    pairs = [plan.pairs(panel).values() for panel in panels] if entry.draw == "scatter" else []
    is_there = any(np.isfinite([x.y[0] for x in xs]).any() for each in pairs for xs, _ in each)
    reader.require(is_there or entry.draw != "scatter", entry, members)
    return plan


def _shown(i: int, one: Member, entry: Entry, reader: Reader) -> list[Line]:
    return [line for name in entry.shows[i] for line in reader.lines(one, name) if _is_drawn(line)]


def _is_drawn(line: Line) -> bool:
    return bool(np.isfinite(line.y).any() or line.low.size) or line.x is None


def _panels(entry: Entry, flat: Sequence[tuple[int, Line]]) -> list[Panel]:
    """Lines by what each panel is of; the title says what the panels differ in."""
    keys = entry.panel.split()
    is_heat = entry.draw == "heat"
    take: dict[str, Callable[[int, Line], str]] = {
        "quantity": lambda i, line: str(i),
        "condition": lambda i, line: line.member.condition,
        "label": lambda i, line: line.label,
        "name": lambda i, line: line.says or (line.part if line.x is not None else ""),
    }
    found: dict[tuple[str, ...], list[Line]] = {}
    for i, line in flat:
        at = ["quantity", "name"] if is_heat else [*keys, *(["quantity"] if "quantity" not in keys else [])]
        found.setdefault(tuple(take[key](i, line) for key in at), []).append(line)
    named = "label" if "label" in keys else "condition" if "condition" in keys else "name" if is_heat else ""
    titles = [take[named](0, lines[0]) if named else "" for lines in found.values()]
    panels = [Panel(title, lines) for title, lines in zip(titles, found.values(), strict=True)]
    order = list(dict.fromkeys(panel.title for panel in panels))
    return sorted(panels, key=lambda panel: order.index(panel.title)) if len(keys) > 1 else panels


def _portraits(entry: Entry, flat: Sequence[tuple[int, Line]]) -> list[Panel]:
    """One panel of all for a scatter; a panel a condition and colour for a portrait."""
    lines = [line for _, line in flat]
    if entry.draw == "scatter":
        return [Panel("", lines)]
    conditions = list(dict.fromkeys(line.member.condition for line in lines))
    return [
        Panel(name, [line for line in lines if line.member.condition == name], colour)
        for name in conditions
        for colour in entry.colours
    ]


def _marks(one: Member, wanted: Sequence[str], reader: Reader) -> list[tuple[str, float]]:
    """Names and steps of what happened in a run; the first grok is said of each task."""
    found = []
    for name in wanted:
        lines = reader.lines(one, "grok" if name == "first grok" else name)
        for line in lines:
            if line.role == MEASURED and np.isfinite(line.y).all() and line.y.size == 1:
                found.append((f"{MARKED[name]} {line.name}".strip(), float(line.y[0])))
    return found


def averaged(lines: Sequence[Line]) -> list[Line]:
    """Return the mean over the runs of a condition of lines alike, with the lowest and the highest as a band."""
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        key = line.member.condition, line.quantity.name, line.name, line.role, line.says
        groups.setdefault(key, []).append(line)
    found = []
    for each in groups.values():
        alike = [line for line in each if np.array_equal(line.x, each[0].x)]  # type: ignore[arg-type]
        y = np.array([line.y for line in alike])
        more = {"low": y.min(axis=0), "high": y.max(axis=0)} if len(alike) > 1 and each[0].role == MEASURED else {}
        found.append(replace(each[0], y=y.mean(axis=0), **more))
    return found


def categories(xs: Sequence[Array | None]) -> list[str] | None:
    """Return the words of x, in their order; None: x are numbers."""
    if not any(x is not None and x.dtype.kind == "U" for x in xs):
        return None
    return list(dict.fromkeys(str(each) for x in xs if x is not None for each in x))


def setting(member: Member, key: str) -> float | str:
    """Return what a run stands at: a setting, or its condition."""
    return member.condition if key == "condition" else float(value_of(member.run.config, key))


def caption(
    entry: Entry,
    members: Sequence[Member],
    lacking: Sequence[str],
    known: Mapping[str, Quantity],
    protocol: str,
    failed: str,
) -> str:
    """Return runs, n, protocol, what is lacking or failed, and what to know of the original, in words."""
    seeds: dict[str, list[int]] = {}
    for member in members:
        seeds.setdefault(member.condition, []).append(member.run.config.seed)
    words = {name: f"seed{'s' * (len(each) > 1)} {', '.join(map(str, each))}" for name, each in seeds.items()}
    same = len(set(words.values())) == 1
    each = [f"{'; '.join(words)}: {next(iter(words.values()))}"] if same else [f"{k}: {v}" for k, v in words.items()]
    runs, how = f"n = {len(members)} run{'s' * (len(members) > 1)}", protocol_of(entry, known, protocol)
    parts = [f"{'; '.join(each)} ({runs}). {how}; {', '.join(analyses(entry, known))}"]
    parts += [f"Left out: {failed}"] if failed else []
    parts += [f"No run of {'; '.join(lacking)}"] if lacking else []
    parts += [f"Of the original: {entry.note}"] if entry.note else []
    others = unlike(members[0])
    parts += [f"Not the paper's settings: {others}"] if others else []
    return ". ".join(parts) + "."


def made_of(entry: Entry, known: Mapping[str, Quantity]) -> list[Quantity]:
    """Return the quantities of an entry, and those that they are made of."""
    own = [known[name] for name in entry.quantities]
    return own + [known[name] for each in own if each.of for name in each.of]


def analyses(entry: Entry, known: Mapping[str, Quantity]) -> list[str]:
    """Return the names of the analyses that an entry is made of."""
    return list(dict.fromkeys(each.analysis for each in made_of(entry, known) if each.analysis))


def protocol_of(entry: Entry, known: Mapping[str, Quantity], protocol: str) -> str:
    """Return how an entry is measured, in words."""
    if protocol == "paper":
        return "The paper's procedure"
    has_own = entry.beside or any(each.exact for each in made_of(entry, known))
    return "Exact, with the control" if has_own else "Exact; this has no control to draw"
