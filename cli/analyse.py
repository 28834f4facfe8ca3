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
    from minigrok.errors import MinigrokError

    from .beside import Job, Outcome


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
    killed analysis goes on where it was when it is called again. With "all", two processes share the analyses, one that
    fails says so, the others are made, and the exit code is that of the first failure.

    Example: minigrok analyse trajectory_pca runs/dual-s42
    """
    from minigrok.analyses import chosen
    from minigrok.experiments.cells import runs_of

    from .beside import Job, each, one

    if name is None:
        return _list(as_json)
    wanted = chosen(name)
    if not folders:
        raise click.UsageError(f"Missing argument 'RUN...': for example minigrok analyse {name} runs/tiny-s42")
    runs = runs_of(folders)
    for run in runs:
        make_ready(run.config)
    jobs = [Job(a, group) for a in wanted for group in ([runs] if a.many else [[run] for run in runs])]
    failures = []

    def show(i: int, outcome: Outcome) -> None:
        if outcome.error is None:
            _show(jobs[i].analysis.name, outcome, as_json)
        else:
            failures.append((jobs[i].analysis.name, outcome.error))
            _say_failure(jobs[i], outcome.error)

    if len(jobs) == 1:
        only = one(jobs[0], protocol, assignments)
        if only.error:
            raise only.error
        show(0, only)
    else:
        each(jobs, protocol, assignments, show)
    if failures:
        echo(f"{len(failures)} of {len(jobs)} failed: {', '.join(name for name, _ in failures)}", err=True)
        sys.exit(failures[0][1].exit_code)


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


def _say_failure(job: Job, error: MinigrokError) -> None:
    """Say on stderr which analysis of which runs failed, and why."""
    folders = ", ".join(str(run.folder) for run in job.runs)
    echo(three_lines(error, f"{job.analysis.name} of {folders} failed"), err=True)


def _show(name: str, outcome: Outcome, as_json: bool) -> None:
    """Print the table of an analysis, or its rows."""
    import json

    from .tables import print_rows

    if as_json:
        echo(json.dumps(outcome.rows))
    else:
        print_rows(f"{name} ({outcome.protocol})", outcome.rows)
        echo(f"figure, table and arrays: {outcome.folder}")
