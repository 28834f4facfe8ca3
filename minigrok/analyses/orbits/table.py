"""Table of orbits: the groups where they part most, where each reaches .90, memorised and at the end."""

import numpy as np

from minigrok.analyses.base import Row, plain_row
from minigrok.analyses.orbits.result import Line, Result
from minigrok.engine import Array
from minigrok.geometry.reconstruction import MARK, first_crossing
from minigrok.statistics.intervals import share_interval

REACHES = f"reaches {MARK:.2f}"


def table(result: Result) -> list[Row]:
    """One row a line, task, group and mark."""
    rows = []
    for line in result.lines:
        for task in result.tasks:
            for at, i in marks(result, line, task).items():
                rows += [_row(result, line, g, at, i) for g in _columns(result, task)]
            rows += [_row(result, line, g, REACHES, reached(line, g)) for g in _columns(result, task)]
    return rows


def marks(result: Result, line: Line, task: str) -> dict[str, int]:
    """Return the points of a line at which the groups of a task stand side by side, by name."""
    found: dict[str, int] = {}
    if line.part == "training":
        late = np.flatnonzero(line.x >= result.memorised[task])
        found |= {"memorised": int(late[0])} if len(late) else {}
        found["last"] = len(line.x) - 1
    partner, alone = (result.column(task, name) for name in ("partner", "alone"))
    if partner is not None and alone is not None and len(line.x):
        found["widest gap"] = line.widest(partner, alone)
    return found


def reached(line: Line, g: int, of: str = "test") -> int | None:
    """Return the first point at which group g reaches the mark, or None."""
    accuracy: Array = getattr(line, of)[:, g]
    return first_crossing(np.arange(len(line.x)), accuracy >= MARK)


def interval(accuracy: Array, orbits: int) -> Array:
    """Return the ends (2, ...) of the interval of accuracies on so many orbits, which are answered as wholes."""
    return share_interval(np.asarray(accuracy) * orbits, orbits)


def _columns(result: Result, task: str) -> list[int]:
    return [g for g, group in enumerate(result.groups) if group.task == task]


def _row(result: Result, line: Line, g: int, at: str, i: int | None) -> Row:
    group = result.groups[g]
    row: Row = {"run": result.run, "part": line.part, "of": line.of, "task": group.task, "at": at}
    row |= {"group": group.name, "n": group.n, "orbits": group.orbits}
    low, high = interval(line.test[i, g], group.orbits) if i is not None else (np.nan, np.nan)
    x, accuracy, lookup, noise = (
        float(values[i]) if i is not None else np.nan
        for values in (line.x, line.test[:, g], line.lookup[:, g], line.noise[:, g])
    )
    row |= {"x": x, "accuracy": accuracy, "low": float(low), "high": float(high), "lookup": lookup, "noise": noise}
    return plain_row(row | {"chance": result.chance})
