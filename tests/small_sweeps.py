"""Sweeps of a few hundred parameters and a second a run, and what is compared between two of them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from minigrok.experiments.job import Job, Outcome, perform_job
from minigrok.experiments.sweep_file import Sweep, read_sweep
from minigrok.storage.runs import open_run

SMALL = """
name = "small"
analyses = {analyses}
[base]
preset = "tiny"
task.p = 5
model.width = 8
model.heads = 2
model.mlp_width = 4
train.batch_size = 4
train.max_steps = {steps}
train.eval_every = 20
train.snapshot_every = {snapshots}
train.stop_when_grokked = false
[[grid]]
optimiser.weight_decay = [1, 0.1]
seed = {seeds}
"""


def small(
    steps: int = 60, seeds: tuple[int, ...] = (1, 2, 3), analyses: tuple[Any, ...] = (), snapshots: int = 20
) -> Sweep:
    """Sweep of two decays by some seeds."""
    return read_sweep(text(steps, seeds, analyses, snapshots))


def text(
    steps: int = 60, seeds: tuple[int, ...] = (1, 2, 3), analyses: tuple[Any, ...] = (), snapshots: int = 20
) -> str:
    """Return its file."""
    return SMALL.format(steps=steps, seeds=list(seeds), analyses=json.dumps(analyses), snapshots=snapshots)


class Here:
    """Jobs in this very process, one after another."""

    workers = 1

    def __init__(self) -> None:
        self.done: list[str] = []

    def outcomes(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> Iterator[Outcome]:
        for job in jobs:
            self.done.append(job["name"])
            yield perform_job(job, stop)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def all_bits(out: Path, sweep: Sweep) -> dict[str, Any]:
    """Every bit of the runs of a sweep, analyses included, but for the wall time in a checkpoint."""
    bits: dict[str, Any] = {}
    for config in sweep.configs:
        folder = out / config.name
        found: dict[str, Any] = dict(contents(folder))
        arrays, state = open_run(folder).load_checkpoint() or ({}, {})
        state.pop("seconds", None)
        found["checkpoint.safetensors"] = state, {name: array.tobytes() for name, array in arrays.items()}
        bits[config.name] = found
    return bits


def step_of(folder: Path) -> int:
    """Step of the last checkpoint of a run; -1 if it has none."""
    if not (folder / "checkpoint.safetensors").exists():
        return -1
    checkpoint = open_run(folder).load_checkpoint()
    return checkpoint[1]["step"] if checkpoint else -1


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for a condition; return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def kill(pid: int) -> int:
    """Kill a process that the test has started; return its number."""
    os.kill(pid, signal.SIGKILL)
    return pid
