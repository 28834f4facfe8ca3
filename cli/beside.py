"""A second process beside `minigrok analyse all`, so that the parts of an analysis that one core does fill both.

This process makes the comparisons, and before them the analyses that they read. The others are shared out by what they
cost, the longest first. The other process writes a line for each to a file: rows of the table, or the error. Every
number is the same for any number of threads or processes. An analysis that the other process does not bring to an end,
because it was killed say, is made here: its parts are kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from minigrok import errors
from minigrok.display import duration

from .echo import echo

if TYPE_CHECKING:
    from minigrok.analyses.base import Analysis, Row
    from minigrok.storage.runs import Run

READ = ("commutator", "hessian")  # by comparisons
OVERLAP = 0.75  # of the sum of both: products fill both cores by themselves, the rest does not; our estimate
Done = dict[int, "Outcome"]  # by the number of the job


class Job(NamedTuple):
    """An analysis of a group of runs, a single one unless it compares them."""

    analysis: Analysis
    runs: list[Run]


class Outcome(NamedTuple):
    """Rows of the table, the folder and the protocol of a result, or what went wrong."""

    rows: list[Row]
    folder: str
    protocol: str
    error: errors.MinigrokError | None = None


def one(job: Job, protocol: str, assignments: Sequence[str], leader: int | None = None) -> Outcome:
    """Say on stderr what an analysis will cost, and perform it with progress lines; end when the leader is gone."""
    from minigrok.analyses.perform import perform, settings_for

    name = job.analysis.name

    def report(i: int, of: int, words: str) -> None:
        if leader and os.getppid() != leader:
            sys.exit(1)
        echo(f"  {name}: {i} of {of}, {words}", err=True)

    try:
        settings = settings_for(job.analysis, protocol, assignments)
        cost = job.analysis.cost(job.runs, settings)
        echo(f"{name}: {job.analysis.question}\ncost: {cost}", err=True)
        done = perform(job.analysis, job.runs, settings, report)
    except errors.MinigrokError as error:
        return Outcome([], "", protocol, error)
    return Outcome(done.rows, str(done.folder), settings.protocol)


def each(jobs: Sequence[Job], protocol: str, assignments: Sequence[str], show: Callable[[int, Outcome], None]) -> None:
    """Perform jobs, in two processes where there are two cores; show outcomes in order, as soon as they are there."""
    from minigrok.engine.threads import available_threads

    found: Done = {}
    numbers, seconds = range(len(jobs)), [_seconds(job, protocol, assignments) for job in jobs]
    echo(f"{len(jobs)} analyses: about {duration(OVERLAP * sum(seconds))} in all", err=True)
    theirs = shared_out(jobs, seconds) if available_threads() > 1 else []
    shown = 0
    with TemporaryFile("w+", encoding="utf-8") as file, _other(jobs, theirs, protocol, assignments, file) as other:
        try:
            for i in [*(i for i in numbers if i not in theirs), None, *theirs]:
                if i is None:
                    other.wait()
                elif i not in found:
                    found[i] = one(jobs[i], protocol, assignments)
                found |= _read(file)
                while shown in found:
                    show(shown, found[shown])
                    shown += 1
        finally:
            other.terminate()


def shared_out(jobs: Sequence[Job], seconds: Sequence[float]) -> list[int]:
    """Return the numbers of the jobs that are for the other process, the longest first."""
    own = [job.analysis.many or job.analysis.name in READ for job in jobs]
    mine, theirs, there = sum(s for s, is_own in zip(seconds, own, strict=True) if is_own), 0.0, []
    for i in sorted((i for i in range(len(jobs)) if not own[i]), key=lambda i: -seconds[i]):
        if theirs <= mine:
            there.append(i)
            theirs += seconds[i]
        else:
            mine += seconds[i]
    return there


def _seconds(job: Job, protocol: str, assignments: Sequence[str]) -> float:
    """Return what a job will take; one that cannot be done says so when its turn comes."""
    from minigrok.analyses.perform import settings_for

    with suppress(errors.MinigrokError):
        return job.analysis.cost(job.runs, settings_for(job.analysis, protocol, assignments)).seconds
    return 0.0


def _other(
    jobs: Sequence[Job], numbers: Sequence[int], protocol: str, assignments: Sequence[str], file: IO[str]
) -> subprocess.Popen[str]:
    """Start the other process; it does not hear a Ctrl-C of the terminal, but is ended by this one."""
    told = [[i, jobs[i].analysis.name, [str(run.folder) for run in jobs[i].runs]] for i in numbers]
    command = [sys.executable, "-m", __name__, str(os.getpid())]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, text=True, start_new_session=True)
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as orders:  # it died: `each` does its work
        json.dump([told, protocol, list(assignments)], orders)
    return process


def _read(file: IO[str]) -> Done:
    """Return the outcomes whose lines are whole."""
    file.seek(0)
    lines = [json.loads(line) for line in file if line.endswith("\n")]
    return {i: Outcome(rows, out, protocol, error and _error(*error)) for i, rows, out, protocol, error in lines}


def _error(kind: str, *parts: str) -> Any:
    return getattr(errors, kind)(*parts)


def main() -> None:
    """Be the other process: jobs from stdin, a line an outcome to stdout."""
    from minigrok.analyses import ANALYSES
    from minigrok.storage.runs import open_run

    told, protocol, assignments = json.load(sys.stdin)
    for i, name, folders in told:
        job = Job(ANALYSES[name], [open_run(Path(folder)) for folder in folders])
        done = one(job, protocol, assignments, int(sys.argv[1]))
        error = done.error and [type(done.error).__name__, *done.error.args]
        print(json.dumps([i, *done[:-1], error]), flush=True)


if __name__ == "__main__":
    main()
