"""A sweep from its plan to its table: runs what is missing, resumes what is half done, retries what died.

    DIR/sweep.json                 what the sweep is, resolved
        RUN/                       a run folder each, with its analyses
        failures/RUN.json          why the last attempt failed; gone when it succeeds
        logs/RUN.log               what a process wrote to stderr
        table.csv, status.png      where every run stands

Everything is read from the run folders, so a sweep that is killed anywhere goes on when it is called again, and one
that is complete does nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from minigrok.analyses.results import csv_text
from minigrok.errors import ConfigError, MinigrokError
from minigrok.experiments import cells as standing
from minigrok.experiments.cells import Cell
from minigrok.experiments.figure import figure
from minigrok.experiments.job import Job, Outcome, comparison_job, run_job
from minigrok.experiments.sweep_file import Sweep
from minigrok.experiments.thinning import thin
from minigrok.foreign import holds
from minigrok.plotting import save
from minigrok.storage.files import UNFINISHED, inside, make_folder, write_atomically
from minigrok.storage.lock import Lock
from minigrok.storage.runs import open_run


class Executor(Protocol):
    """Where jobs are done; see `local.Local` and `on_dask.OnDask`."""

    @property
    def workers(self) -> int:
        """Jobs side by side."""
        ...

    def outcomes(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> Iterator[Outcome]:
        """Do the jobs, dead ones again, and yield how each ended."""
        ...


@dataclass
class Watcher:
    """What the caller sees and says while a sweep goes on; the default does nothing.

    Attributes
    ----------
    begun : called with the number of jobs of a round, runs first, then comparisons
    ended : called with each outcome
    stop : asked often; True lets all jobs save and ends the sitting
    """

    begun: Callable[[int], None] = lambda jobs: None
    ended: Callable[[Outcome], None] = lambda outcome: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Conducted:
    """How a sitting ended.

    Attributes
    ----------
    cells : list of Cell       where every run stands now
    failures : list of str     comparisons that failed, and why
    jobs : int                 how many were done in this sitting; 0: all was there
    stopped : bool
    """

    cells: list[Cell]
    failures: list[str]
    jobs: int
    stopped: bool

    @property
    def complete(self) -> bool:
        """Whether every run and comparison is done."""
        return not self.failures and not self.stopped and all(cell.state == "done" for cell in self.cells)

    def failed(self, only: Sequence[str] = ("*",)) -> list[str]:
        """Comparisons, and runs of these names, that failed, and why."""
        cells = chosen(self.cells, only)
        return self.failures + [f"{cell.config.name}: {cell.reason}" for cell in cells if cell.state == "failed"]


def plan(sweep: Sweep, out: Path) -> list[Cell]:
    """Return where every run stands; changes nothing.

    Raises
    ------
    ConfigError
        The folder is another sweep's, a run's folder holds another configuration or leads out of it.
    """
    if (out / "sweep.json").exists():
        there = standing.open_sweep(out).name
        if there != sweep.name:
            raise ConfigError(f"a folder of the sweep {sweep.name}", f"{out} of {there}", "choose another --out")
    return standing.look_at_all(out, sweep)


def conduct(
    sweep: Sweep,
    out: Path,
    executor: Executor,
    watcher: Watcher | None = None,
    only: Sequence[str] = ("*",),
    other_versions: bool = False,
) -> Conducted:
    """Do what is missing of a sweep.

    Parameters
    ----------
    sweep : Sweep
    out : Path            its folder; made if need be
    executor : Executor
    watcher : Watcher, optional
    only : sequence of str    patterns of run names; the other runs wait, and so do comparisons and thinning
    other_versions : bool     as in `Run`, for all

    Raises
    ------
    ConfigError       see `plan`
    RunFolderError    another process conducts this sweep, or the folder cannot be written
    SweepError        the executor is gone; whatever was done is kept
    """
    watcher = watcher or Watcher()
    make_folder(out)
    with Lock(out, [UNFINISHED, f"failures/{UNFINISHED}"]) as lock, lock.writing():
        missing = [cell for cell in chosen(plan(sweep, out), only) if cell.state != "done"]
        text = standing.sweep_to_json(sweep)
        path = out / "sweep.json"
        if not holds(path, text):
            write_atomically(path, text, lock.take)
        try:
            return _rounds(sweep, out, missing, executor, watcher, other_versions)
        finally:
            show(out, standing.look_at_all(out, sweep))


def chosen(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """Return the runs whose names match one of the patterns; a ConfigError if none does."""
    found = [cell for cell in cells if any(fnmatchcase(cell.config.name, pattern) for pattern in only)]
    if not found:
        names = ", ".join(cell.config.name for cell in cells[:4])
        raise ConfigError(f"the name of a run, or a pattern: {names}, ...", ", ".join(only), "see --plan for the names")
    return found


def show(out: Path, cells: Sequence[Cell]) -> None:
    """Write table and figure, unless they say the same already."""
    text = csv_text(standing.table(cells)).encode(errors="backslashreplace")
    path = out / "table.csv"
    if holds(path, text) and (out / "status.svg").exists():
        return
    save(figure(cells), out / "status")
    write_atomically(path, text)


def _rounds(
    sweep: Sweep, out: Path, missing: Sequence[Cell], executor: Executor, watcher: Watcher, other_versions: bool
) -> Conducted:
    """Runs first, then comparisons of them, then thinning."""
    done, stopped = _runs(sweep, out, missing, executor, watcher, other_versions)
    compare: list[Job] = []
    failed: list[Outcome] = []
    if all(cell.state == "done" for cell in standing.look_at_all(out, sweep)):
        compare = [comparison_job(out, sweep, order) for order in standing.missing_comparisons(sweep, out)]
        stopped, failed = _round(out, compare, executor, watcher)
        if not stopped and not failed and sweep.keep is not None:
            _thin(sweep, out)
    broken = [f"{outcome.name}: {outcome.reason}" for outcome in failed]
    return Conducted(standing.look_at_all(out, sweep), broken, done + len(compare), stopped)


def _runs(
    sweep: Sweep, out: Path, missing: Sequence[Cell], executor: Executor, watcher: Watcher, other_versions: bool
) -> tuple[int, bool]:
    """Do the runs, those that wait for another one of the sweep in a later round; how many, and whether stopped."""
    done, todo = 0, [cell.config for cell in missing]
    while todo:
        trained = {cell.config.name for cell in standing.look_at_all(out, sweep) if cell.trained}
        ready = [config for config in todo if standing.awaited(sweep, config) in {"", *trained}]
        todo = [config for config in todo if config not in ready]
        if not ready:
            for config in todo:
                standing.write_failure(out, config.name, f"waits for {standing.awaited(sweep, config)}: not trained")
            break
        jobs = [run_job(out, sweep, config.name, other_versions) for config in ready]
        stopped, _ = _round(out, jobs, executor, watcher)
        done += len(ready)
        if stopped:
            return done, True
    return done, False


def _round(out: Path, jobs: Sequence[Job], executor: Executor, watcher: Watcher) -> tuple[bool, list[Outcome]]:
    """Do jobs; return whether it was stopped, and what failed."""
    stopped, failed = False, []
    if jobs:
        watcher.begun(len(jobs))
        for outcome in executor.outcomes(jobs, watcher.stop):
            if outcome.stopped:
                stopped = True
                continue
            standing.write_failure(out, outcome.name, "" if outcome.ok else outcome.reason)
            failed += [] if outcome.ok else [outcome]
            watcher.ended(outcome)
    return stopped, failed


def _thin(sweep: Sweep, out: Path) -> None:
    """Thin every run, as the file asks for; one that cannot be thinned stays as it is."""
    assert sweep.keep is not None
    for config in sweep.configs:
        run = open_run(inside(out, config.name))
        if len(run.snapshots()) > sweep.keep:
            try:
                with run:
                    thin(run, sweep.keep)
            except MinigrokError as error:
                standing.write_failure(out, config.name, f"not thinned: {error}")
