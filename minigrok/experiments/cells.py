"""Where each run of a sweep stands, read from the disk: nothing here writes.

not begun    no folder
half done    begun, nobody at it: trained in part, or analyses missing
running      somebody holds its lock
failed       the last attempt failed, and why
done         trained to its end, every analysis there
"""

import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minigrok.analyses import ANALYSES
from minigrok.analyses.base import Analysis, Row
from minigrok.analyses.perform import settings_for
from minigrok.analyses.results import performed
from minigrok.config import Config, from_toml, to_toml
from minigrok.config.arms import NO_SOURCE
from minigrok.errors import MinigrokError, RunFolderError
from minigrok.experiments.sweep_file import Order, Sweep, keep_of, orders_of
from minigrok.foreign import read_file
from minigrok.storage.files import SEAL, inside, is_sealed, make_folder, remove, seal, write_atomically
from minigrok.storage.lock import owner_of
from minigrok.storage.milestones import milestones
from minigrok.storage.runs import Run, open_run
from minigrok.training.counters import Counters

FORMAT = 1  # of sweep.json
State = Literal["not begun", "half done", "running", "failed", "done"]
STATES: tuple[State, ...] = ("done", "running", "half done", "failed", "not begun")


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes
    ----------
    config : Config
    folder : Path
    state : str
    step : int               optimiser steps done, at the last evaluation or checkpoint
    seconds : float          spent training
    trained : bool           to its end
    missing : tuple          its own analyses that are not there; comparisons are not among them
    grokked : dict           of each task, the grok step or None
    reason : str             why it failed, or who is at it
    """

    config: Config
    folder: Path
    state: State = "not begun"
    step: int = 0
    seconds: float = 0.0
    trained: bool = False
    missing: tuple[Order, ...] = ()
    grokked: dict[str, int | None] | None = None
    reason: str = ""


def resolved(order: Order) -> tuple[Analysis, Any]:
    """Return the analysis that an order names, and its settings."""
    analysis = ANALYSES[order.name]
    return analysis, settings_for(analysis, order.protocol, order.assignments)


def comparisons(sweep: Sweep) -> list[Order]:
    """Return the analyses that take all runs at once."""
    return [order for order in sweep.orders if ANALYSES[order.name].many]


def missing_analyses(run: Run, orders: Sequence[Order]) -> tuple[Order, ...]:
    """Return the analyses of a single run that have no result yet."""
    single = [order for order in orders if not ANALYSES[order.name].many]
    return tuple(order for order in single if not _is_there(order, [run]))


def missing_comparisons(sweep: Sweep, out: Path) -> list[Order]:
    """Return the comparisons of all runs that have no result yet; the runs are done."""
    wanted = comparisons(sweep)
    runs = [open_run(inside(out, config.name)) for config in sweep.configs] if wanted else []
    return [order for order in wanted if not _is_there(order, runs)]


def look(out: Path, config: Config, orders: Sequence[Order]) -> Cell:
    """Return where a run stands.

    Parameters
    ----------
    out : Path                 folder of the sweep
    config : Config            of the run
    orders : list of Order     all analyses of the sweep

    Raises
    ------
    ConfigError
        The folder belongs to another configuration.
    RunFolderError
        The folder is a link.
    """
    folder = inside(out, config.name)
    failure = read_failure(out, config.name)
    if not (folder / "config.toml").exists():
        at_it = _at_it(folder) if folder.is_dir() else ""
        state: State = "running" if at_it else "failed" if failure else "not begun"
        return Cell(config, folder, state, reason=at_it or failure)
    try:
        return _begun(folder, config, orders, failure)
    except RunFolderError as error:  # a damaged file: said here, and again by whoever resumes
        return Cell(config, folder, "failed", reason=str(error))


def awaited(sweep: Sweep, config: Config) -> str:
    """Return the name of the run of the sweep that a run's intervention takes its plane from; "" if there is none."""
    source = posixpath.normpath(config.intervention.source or ".")
    is_needed = config.intervention.plane not in NO_SOURCE
    return source if is_needed and source in {other.name for other in sweep.configs} else ""


def look_at_all(out: Path, sweep: Sweep) -> list[Cell]:
    """Return where every run stands."""
    return [look(out, config, sweep.orders) for config in sweep.configs]


def read_failure(out: Path, name: str) -> str:
    """Why the last attempt at a run failed; empty if it did not."""
    try:
        return str(json.loads(read_file(out / "failures" / f"{name}.json"))["reason"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def write_failure(out: Path, name: str, reason: str) -> None:
    """Keep why an attempt failed; "" forgets it."""
    path = inside(out, "failures", f"{name}.json")
    if reason:
        make_folder(path.parent, parents=False)  # a sweep that was deleted meanwhile is not made again
        write_atomically(path, json.dumps({"run": name, "reason": reason}, indent=1).encode())
    else:
        remove(path)


def sweep_to_json(sweep: Sweep) -> bytes:
    """Return a sweep as the bytes of sweep.json, which lies in its folder."""
    orders = [{"name": o.name, "protocol": o.protocol, "set": list(o.assignments)} for o in sweep.orders]
    head = {"checksum": SEAL, "format": FORMAT, "name": sweep.name, "analyses": orders, "keep": sweep.keep}
    text = json.dumps(head | {"runs": [to_toml(config) for config in sweep.configs]}, indent=1)
    return seal(text.encode())


def open_sweep(out: Path) -> Sweep:
    """Sweep that a folder is of.

    Raises
    ------
    RunFolderError
        No folder of a sweep, or a damaged one.
    """
    path = out / "sweep.json"
    try:
        data = read_file(path)
        is_sealed(path, data)
        table = json.loads(data)
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']}")
        configs = tuple(from_toml(str(text)) for text in table["runs"])
        return Sweep(str(table["name"]), configs, orders_of(table["analyses"]), keep_of(table["keep"]))
    except FileNotFoundError as error:
        required, do = "the folder of a sweep", "name a folder that `minigrok sweep` made"
        raise RunFolderError(required, f"{out} without a sweep.json", do) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError, MinigrokError) as error:
        got = f"{path}: {type(error).__name__}: {error}"
        raise RunFolderError("a sweep.json as minigrok wrote it", got, "run `minigrok sweep` once more") from error


def begun(out: Path) -> list[Run]:
    """Runs of a sweep's folder that were begun, finished or not, in the order of the sweep.

    Raises
    ------
    RunFolderError
        No folder of a sweep, no run of it was begun, or a run is damaged.
    """
    names = [config.name for config in open_sweep(out).configs]
    found = [open_run(inside(out, name)) for name in names if (out / name / "config.toml").exists()]
    if not found:
        raise RunFolderError(f"a run that was begun in {out}", f"none of {len(names)}", "run `minigrok sweep` first")
    return found


def runs_of(folders: Sequence[Path]) -> list[Run]:
    """Return the runs of folders; the folder of a sweep stands for its runs that were begun. Errors as in `begun`."""
    sweeps = [(folder / "sweep.json").exists() for folder in folders]
    return [
        run
        for folder, is_sweep in zip(folders, sweeps, strict=True)
        for run in (begun(folder) if is_sweep else [open_run(folder)])
    ]


def table(cells: Sequence[Cell]) -> list[Row]:
    """Return a row a run; the grok steps of tasks that a run lacks, or has not reached, are None."""
    tasks = list(dict.fromkeys(task for cell in cells for task in cell.config.task.operations))
    return [
        {
            "run": cell.config.name,
            "state": cell.state,
            "step": cell.step,
            "budget": cell.config.train.max_steps,
            "seconds": round(cell.seconds, 1),
        }
        | {f"grok step {task}": (cell.grokked or {}).get(task) for task in tasks}
        | {"reason": cell.reason}
        for cell in cells
    ]


def _begun(folder: Path, config: Config, orders: Sequence[Order], failure: str) -> Cell:
    run = open_run(folder)
    run.require_config(config)
    _, state = run.load_checkpoint() or ({}, None)
    columns = run.metrics()
    counters = Counters.of(state) if state else Counters([], [None])
    trained = state is not None and counters.finished(config.train)
    missing = missing_analyses(run, orders) if trained else ()
    step = max([counters.step, *map(int, columns.get("step", [])[-1:])])
    grokked = {task: reached.grokked_at for task, reached in milestones(config, columns).items()}
    at_it = _at_it(folder)
    if at_it:
        now, reason = "running", at_it
    elif trained and not missing:
        now, reason = "done", ""
    else:
        now, reason = ("failed", failure) if failure else ("half done", "")
    return Cell(config, folder, now, step, counters.seconds, trained, missing, grokked, reason)  # type: ignore[arg-type]


def _is_there(order: Order, runs: Sequence[Run]) -> bool:
    analysis, settings = resolved(order)
    return performed(analysis, runs, settings)


def _at_it(folder: Path) -> str:
    found = owner_of(folder)
    return f"at work: {found[0].host}, process {found[0].pid}" if found else ""
