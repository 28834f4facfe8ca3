"""`minigrok analyse`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import names
from .echo import echo
from .ending import three_lines
from .options import debug_option, json_option, make_ready, set_option

if TYPE_CHECKING:
    from minigrok.analyses.base import Analysis
    from minigrok.errors import MinigrokError
    from minigrok.storage.runs import Run


@click.command()
@click.argument("name", required=False, shell_complete=names.completes(names.analyses))
@click.argument("folders", metavar="RUN...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--protocol",
    type=click.Choice(["exact", "paper"]),
    default="exact",
    show_default=True,
    help="Exact derivatives in float64, or the paper's own procedure.",
)
@set_option("assignments", names.analysis_keys, "Change a setting: `minigrok help analyses`; repeatable.")
@json_option
@debug_option
def analyse(
    name: str | None, folders: tuple[Path, ...], protocol: str, assignments: tuple[str, ...], as_json: bool
) -> None:
    """Analyse runs, every number with its null model.

    Without a NAME the analyses are listed. NAME is one of them, or "all". RUN is the folder of a run, or of a sweep:
    then all its runs that were begun. The exact measurement, or the paper's procedure (--protocol paper). Result,
    arrays, table and figure go to RUN/analysis/NAME; a comparison of several runs goes to the first one's folder. A
    killed analysis goes on where it was when it is called again. With "all", an analysis that fails says so, the others
    are made, and the exit code is that of the first failure.

    Example: minigrok analyse trajectory_pca runs/dual-s42
    """
    from minigrok.analyses import chosen
    from minigrok.errors import MinigrokError

    if name is None:
        return _list(as_json)
    wanted = chosen(name)
    if not folders:
        raise click.UsageError(f"Missing argument 'RUN...': for example minigrok analyse {name} runs/tiny-s42")
    runs, failures = _opened(folders), []
    for run in runs:
        make_ready(run.config)
    jobs = [(a, group) for a in wanted for group in ([runs] if a.many else [[run] for run in runs])]
    for analysis, group in jobs:
        try:
            _one(analysis, group, protocol, assignments, as_json)
        except MinigrokError as error:
            if len(jobs) == 1:
                raise
            failures.append((analysis.name, group, error))
            _say_failure(*failures[-1])
    if failures:
        echo(f"{len(failures)} of {len(jobs)} failed: {', '.join(name for name, *_ in failures)}", err=True)
        sys.exit(failures[0][2].exit_code)


def _list(as_json: bool) -> None:
    """Print every analysis with its question."""
    import json

    from minigrok.info import analyses

    from .tables import print_table

    found = analyses()
    if as_json:
        echo(json.dumps(found, indent=2))
    else:
        rows = [(each["name"], each["question"]) for each in found]
        print_table("Analyses (minigrok analyse NAME RUN)", ("name", "question"), rows)


def _opened(folders: tuple[Path, ...]) -> list[Run]:
    """Return the runs of the folders; the folder of a sweep stands for its runs that were begun."""
    from minigrok.experiments.cells import begun
    from minigrok.storage.runs import open_run

    return [
        run for folder in folders for run in (begun(folder) if (folder / "sweep.json").exists() else [open_run(folder)])
    ]


def _say_failure(name: str, runs: list[Run], error: MinigrokError) -> None:
    """Say on stderr which analysis of which runs failed, and why."""
    folders = ", ".join(str(run.folder) for run in runs)
    echo(three_lines(error, f"{name} of {folders} failed"), err=True)


def _one(analysis: Analysis, runs: list[Run], protocol: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Say what it will cost, perform it with a progress line, print its table."""
    import json

    from minigrok.analyses.perform import perform, settings_for

    from .tables import print_rows

    settings = settings_for(analysis, protocol, assignments)
    echo(f"{analysis.name}: {analysis.question}\ncost: {analysis.cost(runs, settings)}", err=True)
    done = perform(
        analysis, runs, settings, lambda i, of, words: echo(f"  {analysis.name}: {i} of {of}, {words}", err=True)
    )
    if as_json:
        echo(json.dumps(done.rows))
    else:
        print_rows(f"{analysis.name} ({settings.protocol})", done.rows)
        echo(f"figure, table and arrays: {done.folder}")
