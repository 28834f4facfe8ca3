"""A table of the paper beside our runs: the paper's number, ours, and the difference, a row a number.

    cells       a row is                        ours
    mean        a condition                     mean over its runs
    mean sd     a condition                     mean, and standard deviation over runs (n - 1)
    range       a condition                     lowest .. highest
    seeds       a condition and seed            the run's
    delay       a condition                     mean, and of the tasks' mean the delay over the first condition
    by x        a condition and x               the curve there
A difference is ours less the paper's; of a range it is the distance from the paper's, 0 inside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrok.analyses.base import Row
from minigrok.engine import Array
from minigrok.paper.conditions import Member
from minigrok.paper.entries import Entry
from minigrok.paper.lines import NULL, Reader

NEVER = "not reached"


def table(entry: Entry, members: Sequence[Member], reader: Reader) -> list[Row]:
    """Return the rows of a table: every row that the paper prints, and those of runs it has not."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.condition, []).append(member)
    ours = {key: cells for name, each in groups.items() for key, cells in _cells(entry, name, each, reader).items()}
    if entry.cells == "delay":
        _add_delay(ours)
    printed = reader.registry.printed[entry.number]
    columns = next(iter(printed.values()))
    return [
        _row(name, column, printed.get(name, {}).get(column), ours.get(name, {}).get(column))
        for name in dict.fromkeys([*printed, *ours])
        for column in columns
    ]


Cell = Mapping[str, Any]  # values (n,), null


def _cells(entry: Entry, name: str, members: Sequence[Member], reader: Reader) -> dict[str, dict[str, Cell]]:
    """Return our numbers of a condition, by row and column."""
    assert entry.columns is not None
    found: dict[str, dict[str, Cell]] = {}
    for column, path in entry.columns.items():
        quantity, _, label = path.partition(":")
        for member in members:
            for line in reader.lines(member, quantity):
                if line.role == NULL or label not in ("", line.label, line.part):
                    continue
                if entry.cells == "by x":
                    assert line.x is not None
                    own = {f"{name}, k {k}": line.y[line.x == k] for k in entry.rows}
                else:
                    own = {member.label if entry.cells == "seeds" else name: line.y}
                for key, values in own.items():
                    held = found.setdefault(key, {}).setdefault(column, {"values": [], "how": entry.cells})
                    held["values"].extend(values.tolist())
            if entry.cells != "by x":
                key = member.label if entry.cells == "seeds" else name
                nulls = [x for x in reader.lines(member, quantity) if x.role == NULL and label in ("", x.label, x.part)]
                if nulls and key in found and column in found[key]:
                    held = found[key][column]
                    held.setdefault("null", {}).setdefault(nulls[0].says, []).append(float(nulls[0].y[0]))  # type: ignore[attr-defined]
    return found


def _add_delay(ours: dict[str, dict[str, Cell]]) -> None:
    """Add the mean of the tasks, and its delay over the first row's."""
    first = None
    for columns in ours.values():
        mean = np.mean([np.mean(cell["values"]) for cell in columns.values()])
        first = mean if first is None else first
        columns["mean"] = {"values": [mean], "how": "delay"}
        columns["delay %"] = {"values": [100 * (mean / first - 1)], "how": "delay"}


def _row(name: str, column: str, paper: Any, cell: Cell | None) -> Row:
    values = np.array(cell["values"] if cell else [], np.float64)
    how = cell["how"] if cell else ""
    row: Row = {"row": name, "column": column, "paper": _printed(paper, how), "here": _ours(values, how)}
    row |= {"difference": _difference(paper, values, how), "n": len(values) if cell else 0}
    nulls = {says: float(np.nanmean(each)) for says, each in (cell or {}).get("null", {}).items()}
    return row | {"control": "; ".join(f"{_text(x)} ({says})" for says, x in nulls.items()) or None}


def _printed(value: Any, how: str) -> str | None:
    if value is None or value != value:
        return None
    if isinstance(value, list):
        return f"{_text(value[0])} .. {_text(value[1])}" if how == "range" else f"{_text(value[0])} ({_text(value[1])})"
    return _text(float(value))


def _ours(values: Array, how: str) -> str | None:
    if not values.size:
        return None
    if np.isnan(values).all():
        return NEVER if how != "range" else None
    known = values[~np.isnan(values)]
    missing = f", {NEVER} in {len(values) - len(known)}" if len(known) < len(values) else ""
    if how == "range" and len(known) > 1:
        return f"{_text(known.min())} .. {_text(known.max())}{missing}"
    spread = f" ({_text(known.std(ddof=1))})" if how == "mean sd" and len(known) > 1 else ""
    return f"{_text(known.mean())}{spread}{missing}"


def _difference(paper: Any, values: Array, how: str) -> float | None:
    if paper is None or not values.size or np.isnan(values).any():
        return None
    low, high = (paper[0], paper[1]) if isinstance(paper, list) and how == "range" else (None, None)
    if low is not None:
        return float(min(values.min() - low, 0) + max(values.max() - high, 0))
    number = paper[0] if isinstance(paper, list) else paper
    return float(values.mean() - number) if np.isfinite(number) else None


def _text(value: float) -> str:
    if np.isinf(value):
        return NEVER
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
