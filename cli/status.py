"""`minigrok status`."""

from __future__ import annotations

from pathlib import Path

import click

from .echo import echo
from .options import debug_option, json_option


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@json_option
@debug_option
def status(folder: Path, as_json: bool) -> None:
    """Show a sweep: done, running, failed and why, time left.

    DIR is the folder of a sweep. Changes nothing, and may be called while the sweep is at work, on any machine that
    sees the folder.
    """
    import json

    from minigrok.display import duration
    from minigrok.experiments import cost
    from minigrok.experiments.cells import look_at_all, missing_comparisons, open_sweep, table

    from .sweeping import counts, print_cells

    sweep = open_sweep(folder)
    cells = look_at_all(folder, sweep)
    known = cost.rates(cells)
    running = sum(cell.state == "running" for cell in cells)
    left = cost.left(cells, known, max(running, 1), sweep.keep)
    complete = all(cell.state == "done" for cell in cells)
    waiting = missing_comparisons(sweep, folder) if complete else []
    if as_json:
        seconds = left.seconds if left.seconds == left.seconds else None
        missing = [order.name for order in waiting]
        echo(json.dumps({"runs": table(cells), "seconds_left": seconds, "comparisons_missing": missing}, indent=2))
        return
    print_cells(cells)
    line = f"{sweep.name}: {counts(cells)}"
    if not complete:
        side = f"{running} at a time" if running else "one at a time; nobody is at it now"
        line += f"; training left, at most: {duration(left.seconds)}, {side}"
    elif waiting:
        line += f"; comparisons missing: {', '.join(order.name for order in waiting)}"
    echo(line)
