"""`minigrok figure`, `minigrok table` and `minigrok figures`: the paper's, by number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import names
from .echo import echo
from .options import debug_option, json_option, make_ready

if TYPE_CHECKING:
    from minigrok.paper.make import Made


def _options(words: Callable[..., Any]) -> Callable[..., Any]:
    """Add what both commands take."""
    out = click.option(
        "--out", type=click.Path(path_type=Path), default="figures", show_default=True, help="Folder of the files."
    )
    exact = click.option("--exact", is_flag=True, help="Measured exactly, with the control beside it.")
    runs = click.argument("folders", metavar="RUN|SWEEP...", nargs=-1, type=click.Path(path_type=Path))
    return runs(exact(out(json_option(debug_option(words)))))


@click.command()
@click.argument("number", shell_complete=names.completes(names.figures))
@_options
def figure(number: str, folders: tuple[Path, ...], exact: bool, out: Path, as_json: bool) -> None:
    """Draw a figure of the paper, by its number, from runs.

    NUMBER is as in the third version, such as 16a, or the name of the picture, such as figCOMP. RUN is the folder of a
    run, SWEEP that of a sweep: then all its runs that were begun. The runs that the figure needs are taken, and the
    analyses that are missing are made. All figures, and what each needs: minigrok figures.

    Example: minigrok figure 16a runs/paper-dual
    """
    from minigrok.paper.make import make_figure

    made = _make(make_figure, number, folders, exact, out)
    _print(made, as_json)


@click.command()
@click.argument("number", shell_complete=names.completes(names.tables))
@_options
def table(number: str, folders: tuple[Path, ...], exact: bool, out: Path, as_json: bool) -> None:
    """Make a table of the paper from runs, beside its numbers.

    Every number is the paper's, ours, and ours less the paper's. With --exact the control stands beside it. Runs and
    analyses as for minigrok figure.

    Example: minigrok table 4 runs/paper-dual
    """
    from minigrok.paper.make import make_table

    from .tables import print_rows

    made = _make(make_table, number, folders, exact, out)
    if not as_json:
        shown = [row if exact else _without(row, "control") for row in made.rows if row["n"]]
        print_rows(f"Table {made.entry.number}. {made.entry.says}", shown)
        if len(shown) < len(made.rows):
            echo(f"{len(made.rows) - len(shown)} more numbers of the paper have no run here: they are in the file")
    _print(made, as_json)


@click.command()
@json_option
@debug_option
def figures(as_json: bool) -> None:
    """List every figure and table of the paper, and what each needs.

    Example: minigrok figures
    """
    import json

    from minigrok.paper.make import listed

    from .tables import print_table

    rows = listed()
    if as_json:
        return echo(json.dumps(rows, indent=1))
    for kind in ("figure", "table"):
        own = [row for row in rows if row["kind"] == kind]
        print_table(
            f"{kind}s: minigrok {kind} NUMBER RUN...",
            ("number", "shows", "needs", "made of"),
            [(row["number"], _said(row), row["needs"], row["made of"]) for row in own],
        )


def _said(row: dict[str, Any]) -> str:
    return f"{row['shows']} ({row['note']})" if row["note"] else str(row["shows"])


def _without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def _make(made: Callable[..., Made], number: str, folders: tuple[Path, ...], exact: bool, out: Path) -> Made:
    from minigrok.experiments.cells import runs_of

    runs = [*{run.folder.resolve(): run for run in runs_of(folders)}.values()]  # each once
    for run in runs:
        make_ready(run.config)
    return made(number, runs, exact, out, lambda words: echo(f"making {words}", err=True))


def _print(made: Made, as_json: bool) -> None:
    import json

    if as_json:
        files = [str(path) for path in made.files]
        echo(json.dumps({"number": made.entry.number, "caption": made.caption, "files": files, "rows": made.rows}))
        return
    echo(f"{made.caption}\n{', '.join(map(str, made.files))}")
