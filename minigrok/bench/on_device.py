"""Speed of training R replicas on the CUDA device: what a run costs when it shares the device with R - 1 others."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from minigrok.config import Config
from minigrok.fleet_train import Crew, Lane
from minigrok.runs import create


class Rate(NamedTuple):
    """What was measured for one number of replicas."""

    replicas: int
    step: float  # seconds a step of all replicas: the median block over its steps
    evaluation: float  # seconds for all replicas on all pairs, the median
    run_steps: float  # steps of single runs a second: replicas / step


def rates(config: Config, counts: Sequence[int], steps: int = 100, blocks: int = 5) -> Iterator[Rate]:
    """Measure training steps and evaluations, copies between host and device included.

    Parameters
    ----------
    config : Config
        Its seed and those that follow make the replicas.
    counts : sequence of int
        Numbers of replicas.
    steps, blocks : int
        Steps of a block, which is what training does between two evaluations, and how many are timed.

    Yields
    ------
    Rate
        One for each count; the first block, which compiles, is not counted.
    """
    config = replace(config, compute=replace(config.compute, engine="cuda"))
    for count in counts:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            runs = [
                stack.enter_context(create(Path(folder, str(r)), replace(config, seed=config.seed + r)))
                for r in range(count)
            ]
            crew = Crew([Lane(run, 0) for run in runs])
            crew.advance(steps)
            crew.evaluate()
            block = partial(crew.advance, steps)
            step = sorted(_seconds(block) / steps for _ in range(blocks))[blocks // 2]
            evaluation = sorted(_seconds(crew.evaluate) for _ in range(blocks))[blocks // 2]
        yield Rate(count, step, evaluation, count / step)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
