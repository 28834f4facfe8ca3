"""`minigrok plot`."""

from __future__ import annotations

from pathlib import Path

import click

from .echo import echo
from .options import debug_option


@click.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--log-steps", is_flag=True, help="Steps on a logarithmic axis.")
@debug_option
def plot(folders: tuple[Path, ...], log_steps: bool) -> None:
    """Draw accuracy, loss and norms of runs, grok steps marked.

    Writes training.png and training.svg into each run folder; a run that is still training may be drawn too.
    """
    from minigrok.plotting import save
    from minigrok.storage.runs import open_run
    from minigrok.training.figure import training_figure

    for folder in folders:
        run = open_run(folder)
        for path in save(training_figure(run, log_steps=log_steps), run.path("training")):
            echo(path)
