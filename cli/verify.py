"""`minigrok verify`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .echo import echo
from .options import debug_option, json_option


@click.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
@debug_option
@click.pass_context
def verify(ctx: click.Context, /, folders: tuple[Path, ...], as_json: bool) -> None:
    """Look for damage in runs and sweeps.

    DIR is the folder of a run or a sweep. Every file is compared with its checksum, and tables, snapshots and
    checkpoint with each other. If something is wrong, verify says what it is and what you can do, and ends with exit
    code 1. Nothing is changed.

    Example: minigrok verify runs/dual-s42
    """
    from minigrok.experiments.verify import verify as look

    from .tables import stdout

    found = [(folder, finding) for folder in folders for finding in look(folder)]
    wrong = [(folder, finding) for folder, finding in found if finding.wrong]
    if as_json:
        rows = [{"folder": str(folder)} | finding._asdict() for folder, finding in wrong]
        echo(json.dumps({"looked_at": len(found), "wrong": rows}, indent=2))
    else:
        for folder, finding in wrong:
            stdout().print(f"{folder / finding.file}\n  wrong: {finding.wrong}\n  do:    {finding.do}", soft_wrap=True)
        echo(f"{len(found):,} files and results looked at, {len(wrong)} wrong")
    ctx.exit(1 if wrong else 0)
