"""The door: a figure or a table of the paper from runs, and its files.

OUT/16a.png, .svg     the picture          16a-exact with the control beside it
   /16a.csv           every point of it
   /table-4.csv       the table
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from minigrok.analyses.base import Row
from minigrok.analyses.results import csv_text
from minigrok.paper import tables
from minigrok.paper.conditions import chosen, needs
from minigrok.paper.entries import Entry, load
from minigrok.paper.figure import figure
from minigrok.paper.lines import Reader
from minigrok.paper.plan import analyses, caption, planned
from minigrok.plotting import defaults, save
from minigrok.storage.files import make_folder, write_atomically
from minigrok.storage.runs import Run

Say = Callable[[str], None]
FOLDER = Path("figures")


class Made(NamedTuple):
    """What was made: rows, files, the caption."""

    entry: Entry
    rows: list[Row]
    files: list[Path]
    caption: str


def make_figure(
    name: str, runs: Sequence[Run], is_exact: bool, out: Path = FOLDER, say: Say = lambda words: None
) -> Made:
    """Draw a figure of the paper from runs, and write its files.

    Parameters
    ----------
    name : str               its number, or the name of its picture: "16a", "figCOMP"
    runs : sequence of Run   those that the figure needs are taken, the others are left out
    is_exact : bool          exact derivatives and the control, or the paper's procedure
    out : Path               folder of the files
    say : function           hears which analysis is made, and what it will cost

    Raises
    ------
    ConfigError       no such figure
    RunFolderError    the runs it needs are not among them: which, and the command that makes them
    """
    registry = load()
    entry = registry.entry("figure", name)
    members, lacking = chosen(entry, runs, is_exact)
    plan = planned(entry, members, lacking, Reader(registry, "exact" if is_exact else "paper", say))
    with defaults():
        drawn = figure(plan)
    stem = out / f"{entry.number}{'-exact' * is_exact}"
    make_folder(out)
    write_atomically(stem.with_suffix(".csv"), csv_text(plan.rows()).encode(errors="backslashreplace"))
    return Made(entry, plan.rows(), [*save(drawn, stem), stem.with_suffix(".csv")], plan.caption)


def make_table(
    name: str, runs: Sequence[Run], is_exact: bool, out: Path = FOLDER, say: Say = lambda words: None
) -> Made:
    """Make a table of the paper from runs beside the paper's numbers; as `make_figure`."""
    registry = load()
    entry = registry.entry("table", name)
    members, lacking = chosen(entry, runs, is_exact)
    reader = Reader(registry, "exact" if is_exact else "paper", say)
    rows = tables.table(entry, members, reader)
    reader.require(any(row["n"] for row in rows), entry, members)
    make_folder(out)
    path = out / f"table-{entry.number}{'-exact' * is_exact}.csv"
    write_atomically(path, csv_text(rows).encode(errors="backslashreplace"))
    words = caption(entry, members, lacking, registry.quantities, reader.protocol, reader.says())
    return Made(entry, rows, [path], words)


def listed() -> list[Row]:
    """Return a row for every figure and table: number, what it shows, what it needs, what it is made of."""
    registry = load()
    rows = []
    for entry in registry.entries:
        made = ", ".join(analyses(entry, registry.quantities))
        own: Row = {"kind": entry.kind, "number": entry.number, "shows": entry.says, "needs": needs(entry)}
        rows.append(own | {"made of": made, "picture": entry.picture or None, "note": entry.note or None})
    return rows
