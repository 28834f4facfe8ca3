"""One sitting at a sweep: say what will happen and what it costs, do it with a display, say what came out."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from minigrok.config import toml_value
from minigrok.display import cell as text_of
from minigrok.display import duration, printable
from minigrok.engine import chosen as chosen_engine
from minigrok.errors import ConfigError, RunFolderError
from minigrok.experiments import cost
from minigrok.experiments.cells import STATES, Cell, look_at_all, table
from minigrok.experiments.job import Outcome
from minigrok.experiments.local import Local
from minigrok.experiments.on_dask import OnDask, Tls
from minigrok.experiments.on_device import OnDevice, wanted
from minigrok.experiments.sweep import Watcher, chosen, plan
from minigrok.experiments.sweep import conduct as conduct_sweep
from minigrok.experiments.sweep_file import Sweep
from minigrok.training import budget

from .echo import echo
from .interrupt import EXIT_CODE, Interrupt
from .tables import print_table
from .tables import table as grid

TICK = 10.0  # seconds between looks at the runs


def engine_setting(name: str | None) -> tuple[str, ...]:
    """Return the setting that --engine stands for, "auto" resolved and said."""
    if name is None:
        return ()
    engine, why = chosen_engine(name)
    if why:
        echo(why, err=True)
    return (f'compute.engine="{engine}"',)


def on_device(sweep: Sweep, replicas: int | None, jobs: int | None, dask: Mapping[str, object]) -> OnDevice | None:
    """Return the executor of a sweep whose runs all have the engine cuda; None for another sweep."""
    if not wanted(sweep):
        if replicas:
            engines = sorted({config.compute.engine for config in sweep.configs})
            raise ConfigError("--engine cuda for --replicas", f"the engine {', '.join(engines)}", "leave it out")
        return None
    others = ["--jobs"] * bool(jobs) + [f"--{name}" for name, value in dask.items() if value]
    if others:
        raise ConfigError("--replicas alone, on this machine's device", ", ".join(others), "leave them out")
    return OnDevice(replicas)


def executor_of(
    jobs: int | None,
    retries: int,
    scheduler: str | None,
    queue: str | None,
    queue_settings: Sequence[str],
    tls_ca_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
) -> Local | OnDask:
    """Return where the jobs will run; a ConfigError for options that do not go together."""
    if scheduler and queue:
        raise ConfigError("either --scheduler or --dask-jobqueue", "both", "leave one out")
    files = tls_ca_file, tls_cert, tls_key
    if any(files) and not all(files):
        raise ConfigError("--tls-ca-file, --tls-cert and --tls-key", "not all three", "add the missing ones")
    if not (scheduler or queue):
        if queue_settings or any(files):
            raise ConfigError("--scheduler or --dask-jobqueue", "options for them alone", "add one, or leave them out")
        return Local(jobs, retries)
    if queue_settings and not queue:
        raise ConfigError("--dask-jobqueue for --queue-set", "--scheduler", "leave --queue-set out")
    if scheduler and jobs:
        raise ConfigError("as many jobs as the scheduler has workers", f"--jobs {jobs}", "leave --jobs out")
    options = {}
    for setting in queue_settings:
        key, _, text = setting.partition("=")
        options[key.strip()] = toml_value(text.strip())
    tls = Tls(str(tls_ca_file), str(tls_cert), str(tls_key)) if any(files) else None
    return OnDask(scheduler, queue, jobs or 1, options, tls, retries)


def print_plan(
    sweep: Sweep, out: Path, executor: Local | OnDask | OnDevice, only: Sequence[str], as_json: bool, alone: bool
) -> None:
    """Print what there is, what is missing and what that will cost: to stdout if it stands alone, else to stderr."""
    everything = plan(sweep, out)
    cells = chosen(everything, only)
    known = cost.rates(everything, measure=cells)
    total = cost.left(cells, known, executor.workers, sweep.keep)
    rows = [
        {
            "run": cell.config.name,
            "state": cell.state,
            "step": cell.step,
            "budget": cell.config.train.max_steps,
            "seconds left": round(cost.seconds_left(cell, known), 1),
            "bytes": budget.disk(cell.config, sweep.keep),
        }
        for cell in cells
    ]
    if alone and as_json:
        echo(json.dumps({"sweep": sweep.name, "folder": str(out), **total._asdict(), "runs": rows}, indent=2))
        return
    columns = ("run", "state", ">step", ">budget", ">time left, at most", ">disk, at most")
    shown = grid("", columns, [_plan_row(cell, cost.seconds_left(cell, known), sweep.keep) for cell in cells])
    console = Console(stderr=not alone, highlight=False, markup=False)
    (console if console.is_terminal else Console(stderr=not alone, markup=False, width=200)).print(shown)
    echo("\n".join(_plan_lines(sweep, out, executor, cells, total)), err=not alone)


def conduct(
    sweep: Sweep,
    out: Path,
    executor: Local | OnDask | OnDevice,
    only: Sequence[str],
    other_versions: bool,
    as_json: bool,
) -> int:
    """Do what is missing; print the table; return the exit code."""
    with Interrupt() as interrupt, Display(sweep, out) as display:

        def stop() -> bool:
            display.tick()
            return interrupt.asked

        done = conduct_sweep(sweep, out, executor, Watcher(display.begun, display.ended, stop), only, other_versions)
    if as_json:
        rows = table(done.cells)
        echo(json.dumps({"complete": done.complete, "failures": done.failures, "runs": rows}, indent=2))
    else:
        print_cells(done.cells)
        echo("\n".join([*done.failures, _closing(out, done.cells, done.jobs, done.stopped)]))
    if done.stopped:
        return EXIT_CODE
    return 1 if done.failed(only) else 0


def print_cells(cells: Sequence[Cell]) -> None:
    """Print where every run stands."""
    rows = table(cells)
    columns = [name for name in rows[0] if name != "reason" or any(row["reason"] for row in rows)]
    flush = [name if name in ("run", "state", "reason") else f">{name}" for name in columns]
    print_table("", flush, [[_text(row[name]) for name in columns] for row in rows])


def counts(cells: Sequence[Cell]) -> str:
    """Return "2 done, 1 running"."""
    numbers = {state: sum(cell.state == state for cell in cells) for state in STATES}
    return ", ".join(f"{n} {state}" for state, n in numbers.items() if n)


class Display:
    """A line for each job that ends, and a bar of steps in a terminal."""

    def __init__(self, sweep: Sweep, out: Path) -> None:
        self._sweep, self._out = sweep, out
        console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} % of all steps"),
            console=console,
            transient=True,
            auto_refresh=False,
            disable=not console.is_terminal or console.is_dumb_terminal,
        )
        self._total = sum(config.train.max_steps for config in sweep.configs)
        self._task = self._bar.add_task("", total=self._total)
        self._of = self._ended = 0
        self._due = 0.0

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begun(self, jobs: int) -> None:
        """Note that so many jobs are begun."""
        self._of, self._ended = jobs, 0

    def ended(self, outcome: Outcome) -> None:
        """Print how a job ended."""
        self._ended += 1
        how = "done" if outcome.ok else f"failed: {outcome.reason}"
        line = printable(f"[{self._ended} of {self._of}] {outcome.name}: {how}")
        self._bar.console.print(line, markup=False, soft_wrap=True)
        self._due = 0.0

    def tick(self) -> None:
        """Renew the bar, if it is time."""
        if self._bar.disable or time.monotonic() < self._due:
            return
        with suppress(ConfigError, RunFolderError):  # a folder in the middle of its making
            cells = look_at_all(self._out, self._sweep)
            steps = sum(cell.config.train.max_steps if cell.trained else cell.step for cell in cells)
            self._bar.update(self._task, completed=steps, description=counts(cells), refresh=True)
        self._due = time.monotonic() + TICK


def _plan_row(cell: Cell, seconds: float, keep: int | None) -> tuple[str, ...]:
    size = "" if cell.trained else budget.in_words(budget.disk(cell.config, keep))
    time_left = "" if cell.trained else duration(seconds)
    return cell.config.name, cell.state, f"{cell.step:,}", f"{cell.config.train.max_steps:,}", time_left, size


def _plan_lines(
    sweep: Sweep, out: Path, executor: Local | OnDask | OnDevice, cells: Sequence[Cell], total: cost.Cost
) -> list[str]:
    lines = [f"{sweep.name} in {out}: {len(cells)} runs: {counts(cells)}"]
    if any(not cell.trained for cell in cells):
        there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
        after = f", {budget.in_words(total.thinned)} once thinned to {sweep.keep}" if sweep.keep else ""
        lines += [
            f"training left, at most: {duration(total.seconds)} on {executor.where}; runs that grok stop sooner",
            f"disk, at most: {budget.in_words(total.n_bytes)}{after}; {budget.in_words(free)} are free"
            + (": NOT ENOUGH if no run stops early" if total.n_bytes > free else ""),
        ]
    if sweep.orders:
        names = ", ".join(f"{order.name} ({order.protocol})" for order in sweep.orders)
        lines.append(f"analyses, whose time comes on top: {names}")
    return lines


def _closing(out: Path, cells: Sequence[Cell], jobs: int, stopped: bool) -> str:
    state = "interrupted and saved; the same command goes on" if stopped else counts(cells)
    where = f"table and picture: {shlex.quote(str(out))}/table.csv, status.png"
    return f"{state}; {where}" if jobs else f"nothing to do: {state}; {where}"


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else text_of(value)
