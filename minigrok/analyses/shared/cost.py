"""What a measurement costs on this machine as it is now: what it is made of is counted, and each kind timed once.

products, passes    a gradient and a Hessian product of one batch of the run, timed; more pairs in proportion
the rest            NumPy, snapshots, figures: seconds on a machine that we measured (two cores of a Sapphire Rapids
                    without other load), times how much longer a singular value decomposition takes here
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from minigrok.analyses.base import Cost
from minigrok.analyses.shared.probes import Probe
from minigrok.engine.threads import one_blas_thread
from minigrok.network.params import initial
from minigrok.storage.runs import Run

START = 3.5  # s: imports, files and a figure
MADE = 0.02  # s: a changed network, on average
SIZE = 302_914  # parameters of the run that the seconds of the rest were measured with: `dual`
DECOMPOSED = 200  # size of the matrix of the decomposition
SECONDS = 0.0085  # that it took there
ENOUGH = 5  # timed calls, of which the middle one counts


class Seconds(NamedTuple):
    """Seconds of one gradient of a batch in float32 and in float64, and of one Hessian product in float64.

    Attributes
    ----------
    grad32, grad64, hvp64 : float
    train, pairs : float             all train pairs, and all pairs, in batches
    """

    grad32: float
    grad64: float
    hvp64: float
    train: float
    pairs: float

    @property
    def hvp(self) -> float:
        """Seconds of a Hessian product on all train pairs, float64."""
        return self.hvp64 * self.train

    @property
    def score(self) -> float:
        """Seconds of one forward pass of all pairs, float64: a third of a gradient's passes."""
        return self.grad64 / 3 * self.pairs


_known: dict[object, Seconds] = {}


def measured_seconds(run: Run) -> Seconds:
    """Time one product of each kind on this machine, at the run's initial parameters; once for runs of one shape."""
    config = run.config
    key = (config.task, config.model, config.compute, config.train.batch_size)
    if key not in _known:
        theta = initial(config)
        probe32, probe64 = Probe(run, "float32"), Probe(run, "float64")
        theta32, theta64 = theta.astype(np.float32), theta.astype(np.float64)
        v, batch = probe64.a.grad(theta64), min(config.train.batch_size, config.task.n_train)
        _known[key] = Seconds(
            _timed(lambda i: probe32.a.grad(theta32 * np.float32(1 + 0.001 * i))),
            _timed(lambda i: probe64.a.grad(theta64 * (1 + 0.001 * i))),
            _timed(lambda i: probe64.a.hvp(theta64, v)),
            config.task.n_train / batch,
            (config.task.n_train + config.task.n_test) / batch,
        )
    return _known[key]


def host(seconds: float, runs: Sequence[Run] = ()) -> float:
    """Return what takes so many seconds of one core on our machine, here and now; those of `runs` by their size."""
    return seconds * _pace() * (sum(run.layout.size for run in runs) / SIZE if runs else 1)


def of_snapshots(runs: Sequence[Run], count: int, each: float, words: str = "snapshots") -> Cost:
    """Return the cost of reading so many snapshots of each run, at so many seconds on our machine."""
    return Cost(host(START) + host(count * each, runs), f"{count * len(runs)} {words}")


def scored(run: Run, count: float) -> Cost:
    """Return the cost of scoring so many networks on all pairs, and of making them."""
    each = measured_seconds(run).score + host(MADE, [run])
    return Cost(host(START) + count * each, f"about {count:.0f} networks scored on all pairs")


@cache
def _pace() -> float:
    """How much longer a fixed piece of work takes here than on our machine."""
    A = np.random.default_rng(0).standard_normal((DECOMPOSED, DECOMPOSED))
    with one_blas_thread():
        return _timed(lambda i: np.linalg.svd(A)) / SECONDS


def _timed(call: Callable[[int], object]) -> float:
    """Middle of the seconds of some calls, after one that has compiled it and found its memory."""
    call(0)
    found = []
    for i in range(ENOUGH):
        start = time.perf_counter()
        call(i + 1)
        found.append(time.perf_counter() - start)
    return float(np.median(found))
