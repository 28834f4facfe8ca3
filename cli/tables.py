"""Tables on stdout, the same in a terminal, in a pipe and in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from minigrok.display import cell, printable

PIPE_WIDTH = 200  # columns where stdout is no terminal: our choice
LONGEST = 40  # characters of a line of text in a cell of an analysis: our choice


def stdout() -> Console:
    """Console on stdout that prints text as it is."""
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=PIPE_WIDTH)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], longest: int | None = None) -> Table:
    """Return a table; a column whose name starts with ">" is flush right; `longest` bounds the width of the others.

    Control characters in the cells are written out.
    """
    grid = Table(title=printable(title) or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in columns:
        right = name.startswith(">")
        grid.add_column(name.lstrip(">"), justify="right" if right else "left", max_width=None if right else longest)
    for row in rows:
        grid.add_row(*(Text(printable(text)) for text in row))
    return grid


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; see `table`."""
    stdout().print(table(title, columns, rows))


def print_rows(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print the rows of an analysis, numbers to four digits and flush right; None is a dash.

    No number is cut. A column that is the same in all rows is named once, above; one without a value is left out. What
    is too wide goes on below, behind the fewest leading columns that tell the rows apart.
    """
    if not rows:
        stdout().print(printable(f"{title}: no rows"))
        return
    texts = {_heading(name, rows): [cell(row[name]) for row in rows] for name in rows[0]}
    same = {name: column[0] for name, column in texts.items() if len(rows) > 1 and len(set(column)) == 1}
    said = ", ".join(f"{name.lstrip('>')} {text}" for name, text in same.items() if text != "-")
    console = stdout()
    console.print(Text(printable(f"{title}\nin all rows: {said}" if said else title), style="bold"))
    for grid in _parts({name: column for name, column in texts.items() if name not in same}, console):
        console.print(grid)


def _heading(name: str, rows: Sequence[Mapping[str, object]]) -> str:
    """Name of a column, with ">" if it has numbers alone."""
    return ">" * all(isinstance(row[name], int | float | None) for row in rows) + name


def _parts(texts: Mapping[str, Sequence[str]], console: Console) -> list[Table]:
    """Tables of all columns, as wide as the console at most; each has the columns that tell the rows apart."""
    names = list(texts)
    n = next((n for n in range(1, len(names)) if _distinct(texts, names[:n])), 0)
    keys, parts = names[:n], [names[: n + 1]]
    endless = console.options.update(max_width=10 * PIPE_WIDTH)  # a measure is never above it
    for name in names[n + 1 :]:
        wider = [*parts[-1], name]
        if Measurement.get(console, endless, _grid(texts, wider)).maximum <= console.width:
            parts[-1] = wider
        else:
            parts.append([*keys, name])
    return [_grid(texts, part) for part in parts]


def _distinct(texts: Mapping[str, Sequence[str]], names: Sequence[str]) -> bool:
    rows = list(zip(*(texts[name] for name in names), strict=True))
    return len(set(rows)) == len(rows)


def _grid(texts: Mapping[str, Sequence[str]], names: Sequence[str]) -> Table:
    return table("", names, zip(*(texts[name] for name in names), strict=True), LONGEST)


def step_text(step: int | None) -> str:
    """Return a step for people, "-" for none."""
    return "-" if step is None else f"{step:,}"
