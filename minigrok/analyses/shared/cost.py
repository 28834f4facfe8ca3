"""What a measurement costs on this machine: one gradient and one Hessian product, timed on the run itself."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minigrok.analyses.shared.probes import Probe
from minigrok.network.params import initial
from minigrok.storage.runs import Run


class Seconds(NamedTuple):
    """Seconds that one gradient of a batch takes in float32 and in float64, and one Hessian product in float64."""

    grad32: float
    grad64: float
    hvp64: float


def measured_seconds(run: Run) -> Seconds:
    """Time one product of each kind on this machine, now, at the run's initial parameters."""
    theta = initial(run.config)
    probe32, probe64 = Probe(run, "float32"), Probe(run, "float64")
    theta32, theta64 = theta.astype(np.float32), theta.astype(np.float64)
    v = probe64.a.grad(theta64)
    return Seconds(
        _second_call(lambda i: probe32.a.grad(theta32 * np.float32(1 + 0.001 * i))),
        _second_call(lambda i: probe64.a.grad(theta64 * (1 + 0.001 * i))),
        _second_call(lambda i: probe64.a.hvp(theta64, v)),
    )


def _second_call(call: Callable[[int], object]) -> float:
    """Seconds of a call after another one has compiled it and found its memory."""
    call(0)
    start = time.perf_counter()
    call(1)
    return time.perf_counter() - start


def duration(seconds: float) -> str:
    """Return "about 40 s" or "about 12 min"."""
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:.0f} min"
