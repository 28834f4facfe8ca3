"""`minigrok compress`."""

from __future__ import annotations

from pathlib import Path

import click

from . import names
from .echo import echo
from .options import debug_option, json_option, make_ready


class _WithFigures(click.Command):
    """A command whose help ends with the registry of figures."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each figure shows."""
        from minigrok.analyses.paper_figures import PAPER_FIGURES

        with formatter.section("Figures"):
            formatter.write_dl([(name, figure.shows) for name, figure in PAPER_FIGURES.items()])


@click.command(cls=_WithFigures)
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--figure",
    "name",
    default="all",
    show_default=True,
    metavar="NAME",
    help="One of the figures below.",
    shell_complete=names.completes(names.figures),
)
@click.option(
    "--protocol",
    type=click.Choice(["exact", "paper"]),
    default="exact",
    show_default=True,
    help="With the controls beside it, or the paper's own procedure.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the files [default: RUN/analysis/compress].",
)
@json_option
@debug_option
def compress(folders: tuple[Path, ...], name: str, protocol: str, out: Path | None, as_json: bool) -> None:
    """Make the paper's figures of compression and reconstruction.

    The paper takes parts away from theta_final - theta_init, so that they return to random initial values; "exact" does
    the same to theta_final itself beside it, and adds nulls. Pictures and tables go to RUN/analysis/compress (for the
    paper's procedure: compress-paper). The studies behind them are analyses: minigrok analyse compression RUN, and
    reconstruction, ablation, effective_rank.

    Example: minigrok compress runs/dual-s42 --figure figSNAP
    """
    import json

    from minigrok.analyses.paper_figures import PAPER_FIGURES, figure_names, make
    from minigrok.storage.runs import open_run

    from .tables import print_rows

    names, runs = figure_names(name), [open_run(folder) for folder in folders]
    for run in runs:
        make_ready(run.config)
    everything = []
    for run in runs:
        to = out / run.folder.name if out and len(runs) > 1 else out
        for figure in names:
            echo(f"{figure} of {run.folder}: {PAPER_FIGURES[figure].shows}", err=True)
            made = make(run, figure, protocol, to, lambda i, of, words: echo(f"  {i} of {of}, {words}", err=True))
            everything.append({"run": str(run.folder), "figure": figure, "tables": made.tables})
            if not as_json:
                for analysis, rows in made.tables.items():
                    print_rows(f"{figure} ({protocol}): {analysis}", rows)
                echo(f"{made.folder / figure}.png")
    if as_json:
        echo(json.dumps(everything))
