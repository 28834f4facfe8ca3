"""Every kernel that the CUDA engine launches for a model, compiled to PTX without a device.

The passes run on an engine that computes nothing: it notes each launch, kernel and argument types, and those are
compiled. So the list is that of the program, not one kept by hand. `python -m minigrok.bench.kernels` prints what it
compiled and fails if a float32 kernel holds anything of float64.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator

import numpy as np

from minigrok.config import Config, Model, Task
from minigrok.engine import device
from minigrok.engine.ptx import Launch, Noting, ptx
from minigrok.errors import EngineError
from minigrok.network.fleet import Fleet
from minigrok.network.fleet_evaluation import FleetEvaluation
from minigrok.training.fleet_step import FleetStep

FLOAT64 = re.compile(r"\S*\.f64\S*")


def launches(config: Config, dtype: str) -> list[Launch]:
    """Return the launches of training two replicas, evaluating them, and of all products of one network.

    Parameters
    ----------
    config : Config
        The number of blocks decides which rows each reads; sizes decide nothing.
    dtype : str
    """
    rng, B = np.random.default_rng(0), config.task.p
    tokens, targets = rng.integers(0, B, (B, 2)), rng.integers(0, B, (len(config.task.operations), B))
    found: dict[Launch, None] = {}
    for replicas in (1, 2):
        fleet = Fleet(config, dtype, replicas, machine := Noting(dtype, replicas))
        step = FleetStep(fleet, [tokens] * replicas, [targets] * replicas, B)
        step.block(np.zeros((replicas, 1, B), np.int64), [config.optimiser] * replicas, [0] * replicas)
        FleetEvaluation(fleet, [(tokens, targets)] * replicas).each()
        if replicas == 1:  # as in every `Objective`
            out = np.empty(fleet.layout.size, dtype)
            fleet.forward()
            for product in (fleet.backward, fleet.hvp, fleet.ggn_vp):
                product(out)
        found |= machine.launches
    return list(found)


def model_configs() -> Iterator[Config]:
    """One block and two, on the table of rows and without: every way that the rows of a batch are read."""
    for blocks, mlp_width in ((1, 3), (2, 3)):
        yield Config("kernels", task=Task(p=5, exclude_zero=False), model=Model(4, 2, mlp_width, blocks))


def main() -> int:
    """Compile all kernels for one compute capability; return 1 if a float32 one holds float64, 3 without compiler."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--capability", choices=["8.0", "9.0"], default="9.0")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    asked = parser.parse_args()
    try:
        device.require_compiler()
    except EngineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    major, _, minor = asked.capability.partition(".")
    found = dict.fromkeys(launch for config in model_configs() for launch in launches(config, asked.dtype))
    print(f"{len(found)} kernels of {asked.dtype} for sm_{major}{minor}", flush=True)
    bad = 0
    for launch in found:
        start = time.monotonic()
        text = ptx(launch, (int(major), int(minor)))
        double = sorted(set(FLOAT64.findall(text))) if asked.dtype == "float32" else []
        bad += bool(double)
        spilled = len(re.findall(r"\b(?:ld|st)\.local", text))
        notes = f", local memory {spilled} times" if spilled else ""
        notes += f", FLOAT64: {' '.join(double)}" if double else ""
        print(f"{launch[0].__name__}: {len(text):,} bytes, {time.monotonic() - start:.1f} s{notes}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
