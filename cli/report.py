"""`minigrok report`."""

from __future__ import annotations

from pathlib import Path

import click

from .echo import echo
from .options import debug_option, make_ready


@click.command()
@click.argument("folders", metavar="RUN|SWEEP...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    *("-o", "--out"),
    default="report.html",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The page: NAME.html, or NAME.md and audit.json beside it.",
)
@click.option("--claims", "ids", multiple=True, metavar="ID", help="Only claims that begin so: C5, C2.6; repeatable.")
@click.option("--file", "source", type=click.Path(path_type=Path), help="Another file of claims.")
@click.option(
    "--with",
    "earlier",
    type=click.Path(path_type=Path),
    help="An audit.json: runs in it that are not at hand count, too.",
)
@click.option("--read-only", is_flag=True, help="Make no analysis: the page says which are missing.")
@debug_option
def report(
    folders: tuple[Path, ...],
    out: Path,
    ids: tuple[str, ...],
    source: Path | None,
    earlier: Path | None,
    read_only: bool,
) -> None:
    """Write the audit as one page that can be forwarded.

    An HTML page is one file that needs no network and no script, audit.json in it. A Markdown page is written with
    audit.json beside it. The audit is made as `minigrok audit` makes it.

    Example: minigrok report runs/paper-dual -o report.html
    """
    from minigrok.audit.book import load
    from minigrok.audit.earlier import read_earlier
    from minigrok.experiments.cells import runs_of
    from minigrok.report.write import require_ending, written

    require_ending(out)
    book = load(source)
    runs = [*{run.folder.resolve(): run for run in runs_of(folders)}.values()]  # each once
    for run in runs if not read_only else ():
        make_ready(run.config)
    kept = None if earlier is None else read_earlier(earlier, book)
    files = written(book, runs, ids, not read_only, out, lambda words: echo(f"making {words}", err=True), kept)
    echo("\n".join(f"{path} ({path.stat().st_size:,} bytes)" for path in files))
