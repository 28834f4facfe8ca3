"""What the machine has to give: memory of a training process, time to its first step, and a busy neighbour."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minigrok.bench.pipe import PeerError, Worker, environment
from minigrok.bench.settings import CONTENDERS, OWN, Progress, Settings, obstacle
from minigrok.config import to_toml
from minigrok.peers.problem import Work

N_STEPS = 50  # of a training process whose memory is measured
REPEATS = 5  # of a start, of which the median counts
Row = dict[str, Any]


def memory(settings: Settings, progress: Progress) -> list[Row]:
    """Largest resident memory of a fresh process of each contender that trains 50 steps.

    Returns
    -------
    list of dict
        "contender", "label", "peak_bytes" or "error".
    """
    rows = []
    for i, name in enumerate(settings.contenders):
        progress(i, len(settings.contenders), f"{CONTENDERS[name].label}: {N_STEPS} steps")
        rows.append(_first_steps(name, settings, N_STEPS))
    progress(1, 1, "done")
    return rows


def _first_steps(name: str, settings: Settings, steps: int) -> Row:
    """Start a process, train, and say what it took."""
    row: Row = {"contender": name, "label": CONTENDERS[name].label}
    if missing := obstacle(name):
        return row | {"error": missing}
    start = time.perf_counter()
    with Worker(name, settings) as worker:
        try:
            worker.open(Work("step", settings.config.compute.dtype), choose=False)
            worker.ask("calls", n=steps)
            return row | {"seconds": time.perf_counter() - start} | worker.ask("memory")
        except PeerError as error:
            if name == OWN:
                raise
            return row | {"error": error.got}


def startup(settings: Settings, progress: Progress) -> list[Row]:
    """Seconds that starts take, each in a new process.

    Returns
    -------
    list of dict
        "what", and "seconds" (a list) or "error". "to the first step" ends when the process does: after one step, an
        evaluation of all pairs and the files of the run.
    """
    python = (sys.executable, "-c")
    rows = [_repeat("python, nothing imported", (*python, "pass"), settings, progress)]
    rows.append(_repeat("minigrok --help", (*settings.command, "--help"), settings, progress))
    for module in ("minigrok.training.train", "torch", "jax"):
        rows.append(_repeat(f"import {module}", (*python, f"import {module}"), settings, progress))
    rows += _trainings(settings, progress)
    for name in settings.contenders:
        progress(len(rows), len(rows) + len(settings.contenders), f"{CONTENDERS[name].label}: first step")
        row = _first_steps(name, settings, 1)
        found = {"seconds": [row["seconds"]]} if "seconds" in row else {"error": row["error"]}
        rows.append({"what": f"first step from a script: {row['label']}"} | found)
    progress(1, 1, "done")
    return rows


def _trainings(settings: Settings, progress: Progress) -> list[Row]:
    """`minigrok train` to its first step: once with an empty cache of compiled functions, then with a full one."""
    with TemporaryDirectory() as folder:
        config = Path(folder, "config.toml")
        config.write_text(to_toml(settings.config), encoding="utf-8")
        command = (*settings.command, "train", str(config), "--set", "train.max_steps=1", "--out")
        cache = {"NUMBA_CACHE_DIR": str(Path(folder, "numba"))}

        def one(what: str, repeats: int) -> Row:
            seconds = []
            for i in range(repeats):
                progress(i, repeats, what)
                out = str(Path(folder, f"{what} {i}"))
                seconds.append(_seconds((*command, out), environment(settings) | cache))
            return {"what": f"minigrok train to the first step, {what}", "seconds": seconds}

        return [one("cold cache", 1), one("warm cache", REPEATS)]


def _repeat(what: str, command: Sequence[str], settings: Settings, progress: Progress) -> Row:
    """Time a command some times, after once to have its files in memory."""
    seconds = []
    for i in range(REPEATS + 1):
        progress(i, REPEATS + 1, what)
        try:
            seconds.append(_seconds(command, environment(settings)))
        except PeerError as error:
            return {"what": what, "error": error.got}
    return {"what": what, "seconds": seconds[1:]}


def _seconds(command: Sequence[str], variables: dict[str, str]) -> float:
    """Seconds from the start of a process to its end; a PeerError if it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PeerError(f"{' '.join(command)} to succeed", last, "run it by hand")
    return seconds


@contextmanager
def busy(cpus: Sequence[int]) -> Iterator[None]:
    """Within the block another process spins on these CPUs, on one at a time."""
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(spinner.pid, set(cpus))
        yield
    finally:
        spinner.kill()
        spinner.wait()
