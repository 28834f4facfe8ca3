"""Tables on stdout, the same in a terminal, in a pipe and in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
