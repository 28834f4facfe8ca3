"""Tables on stdout, the same in a terminal, in a pipe and in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 200  # columns where stdout is no terminal: nothing is wrapped


def stdout() -> Console:
    """Console on stdout that prints text as it is."""
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=PIPE_WIDTH)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table; a column whose name starts with ">" is flush right."""
    grid = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in columns:
        grid.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left")
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; see `table`."""
    stdout().print(table(title, columns, rows))


def print_rows(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print the rows of an analysis, numbers to four digits and flush right; None is a dash."""
    columns = list(rows[0]) if rows else []
    flush = [">" if all(isinstance(row[c], int | float | None) for row in rows) else "" for c in columns]
    print_table(
        title,
        [f + c for f, c in zip(flush, columns, strict=True)],
        [[cell(row[c]) for c in columns] for row in rows],
    )


def cell(value: object) -> str:
    """Return a value as the text of a table cell."""
    if value is None or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
