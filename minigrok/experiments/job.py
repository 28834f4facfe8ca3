"""One job of a sweep: train or resume a run and analyse it, or compare all runs.

The same function runs in a process of this machine (`python -m minigrok.experiments.job`: the job as JSON on stdin, the
outcome on stdout) and on a Dask worker. A job may be done twice, at once or later: the folder's lock lets one writer
in, and what is there is not made again.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from minigrok.analyses.perform import perform
from minigrok.analyses.results import performed
from minigrok.config import from_toml, to_toml
from minigrok.engine import portable, provenance
from minigrok.errors import BusyError, MinigrokError, SweepError
from minigrok.experiments.cells import missing_analyses, resolved
from minigrok.experiments.sweep_file import Order, Sweep
from minigrok.storage.lock import EXPIRY
from minigrok.storage.runs import Run, begin, open_run
from minigrok.training.budget import require_room
from minigrok.training.observer import Observer
from minigrok.training.train import train
from minigrok.version import __version__

PATIENCE = EXPIRY + 30.0  # seconds to wait for a folder's lock: a dead owner elsewhere has expired by then

Job = dict[str, Any]  # JSON-able: see `run_job` and `comparison_job`


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes
    ----------
    name : str        of the run, or of the comparison
    ok : bool         done
    reason : str      why not
    again : bool      whether another attempt may end differently: a death, not a wrong setting
    stopped : bool    asked to stop, and saved
    """

    name: str
    ok: bool
    reason: str = ""
    again: bool = False
    stopped: bool = False


class Stopped(Exception):
    """Asked to stop in the middle of an analysis, whose finished parts are kept."""


def run_job(out: Path, sweep: Sweep, name: str, other_versions: bool = False) -> Job:
    """Return the job that brings a run to its end, its own analyses included; `other_versions` as in `Run`."""
    config = next(config for config in sweep.configs if config.name == name)
    own = {"config": to_toml(config), "portable": config.compute.portable, "other_versions": other_versions}
    return _job(out, name, sweep.orders) | own


def comparison_job(out: Path, sweep: Sweep, order: Order) -> Job:
    """Return the job that compares all runs of a sweep."""
    runs = [config.name for config in sweep.configs]
    return _job(out, f"compare-{order.name}-{order.protocol}", [order]) | {"runs": runs, "portable": False}


def versions() -> dict[str, str]:
    """Versions that must be the same wherever a sweep runs."""
    return {"minigrok": __version__} | provenance.packages()


def perform_job(job: Job, stop: Callable[[], bool]) -> Outcome:
    """Do a job; errors become outcomes.

    Parameters
    ----------
    job : dict
    stop : function    asked after each step and between parts of an analysis
    """
    name = str(job["name"])
    try:
        _require_versions(job["versions"])
        if job["portable"]:
            portable.require()
        (_compare if "runs" in job else _run)(job, stop)
    except Stopped:
        return Outcome(name, False, "stopped", stopped=True)
    except MinigrokError as error:
        return Outcome(name, False, str(error))
    except Exception as error:
        traceback.print_exc()  # into the log
        return Outcome(name, False, f"{type(error).__name__}: {error}", again=isinstance(error, OSError | MemoryError))
    return Outcome(name, True)


def _job(out: Path, name: str, orders: Sequence[Order]) -> Job:
    analyses = [asdict(order) for order in orders]
    return {"name": name, "out": str(out.resolve()), "analyses": analyses, "versions": versions()}


def _require_versions(wanted: dict[str, str]) -> None:
    found = versions()
    if found != wanted:
        differ = [key for key in wanted if found.get(key) != wanted[key]]
        required = "the versions of the machine that leads: " + ", ".join(f"{k} {wanted[k]}" for k in differ)
        got = ", ".join(f"{k} {found.get(k)}" for k in differ)
        raise SweepError(required, got, "install the same everywhere: other versions may give other bits")


def _run(job: Job, stop: Callable[[], bool]) -> None:
    orders = _orders(job)
    with locked(job, stop) as run:
        counters = train(run, threads=1, observer=Observer(stop=stop))
        if not counters.finished(run.config.train):
            raise Stopped
        for order in missing_analyses(run, orders):
            _perform(order, [run], stop)


def _compare(job: Job, stop: Callable[[], bool]) -> None:
    runs = [open_run(Path(job["out"], name)) for name in job["runs"]]
    with runs[0]:
        for order in _orders(job):
            _perform(order, runs, stop)


def _perform(order: Order, runs: list[Run], stop: Callable[[], bool]) -> None:
    analysis, settings = resolved(order)

    def report(*_: object) -> None:
        if stop():
            raise Stopped

    report()
    while not performed(analysis, runs, settings):
        try:
            perform(analysis, runs, settings, report)
        except BusyError:  # somebody is at the same analysis
            time.sleep(0.2)
            report()


def _orders(job: Job) -> list[Order]:
    return [Order(o["name"], o["protocol"], tuple(o["assignments"])) for o in job["analyses"]]


def locked(job: Job, stop: Callable[[], bool]) -> Run:
    """Run folder, new or as it was left, with its lock; waits for an owner that ends or expires."""
    config, out = from_toml(str(job["config"])), Path(job["out"])
    if not (out / "sweep.json").exists():
        do = "put the output folder on storage that this machine shares under the same path"
        raise SweepError(f"the sweep's folder {out}", "no sweep.json there", do)
    require_room(config, out / config.name)
    folder, deadline = out / config.name, time.monotonic() + PATIENCE
    while True:
        try:
            run = begin(folder, config)
            run.other_versions = bool(job.get("other_versions"))
            return run
        except BusyError:
            if time.monotonic() > deadline:
                raise
            if stop():
                raise Stopped from None
        time.sleep(0.2)


class _Asked:
    """Whether to stop: SIGTERM or SIGINT came, or the process that leads the sweep is gone."""

    def __init__(self, leader: int) -> None:
        self._leader, self._signalled = leader, False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def __call__(self) -> bool:
        return self._signalled or os.getppid() != self._leader

    def _note(self, _: int, __: FrameType | None) -> None:
        self._signalled = True


def main() -> None:
    """Do the job on stdin, print its outcome; the argument is the process that leads."""
    asked = _Asked(int(sys.argv[1]))
    print(json.dumps(asdict(perform_job(json.load(sys.stdin), asked))), flush=True)


if __name__ == "__main__":
    main()
