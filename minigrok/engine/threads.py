"""A team of Python threads that share a list of independent jobs.

The engines release the GIL inside kernels and matrix products, so plain threads run shards side by side. Which thread
runs which job never changes a number: each job owns its memory, and results are combined in the order of the jobs.

BLAS works on one thread wherever minigrok computes: in the jobs, which are the parallelism, and in analyses and planes
(`one_blas_thread`). Its threads would cut products by their number, which changes last bits, and wait for each other in
small ones: beside other load `weight_spectra` took 62 s of CPU with two of them, 6 s with one.
"""

import os
import threading
import weakref
from collections.abc import Callable
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from minigrok.engine import Body, Engine

Job = Callable[[int], None]
Orders = SimpleQueue[tuple[Job, int] | None]
Reports = SimpleQueue[BaseException | None]


def available_threads() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def blas_libraries() -> list[dict[str, Any]]:
    """Return what threadpoolctl tells of each BLAS library that NumPy and SciPy brought."""
    for module in ("numpy", "scipy.linalg"):  # loading them loads their libraries
        import_module(module)
    return [each for each in threadpool_info() if each["user_api"] == "blas"]


def one_blas_thread() -> Any:
    """Return a context in which BLAS works on one thread."""
    return threadpool_limits(limits=1, user_api="blas")


class Team:
    """The calling thread and `size - 1` helpers, which sleep between calls of `run`.

    Parameters
    ----------
    size : int
        Number of threads; 1 runs everything on the calling thread.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._orders: list[Orders] = [SimpleQueue() for _ in range(size - 1)]
        self._reports: Reports = SimpleQueue()
        self._blas = ThreadpoolController()
        for helper, orders in enumerate(self._orders, start=1):
            arguments = (helper, size, orders, self._reports)  # not the team: it may die while helpers sleep
            threading.Thread(target=_help, args=arguments, daemon=True).start()
        weakref.finalize(self, _dismiss, self._orders)

    def run(self, job: Job, n: int) -> None:
        """Call job(0) .. job(n - 1), thread i taking the jobs i, i + size, ...; return when all are done.

        BLAS runs on one thread meanwhile: the jobs are the parallelism. An exception in a job is raised here.
        """
        with self._blas.limit(limits=1, user_api="blas"):
            for orders in self._orders:
                orders.put((job, n))
            failure = _share(job, n, 0, self.size)
            reports = [self._reports.get() for _ in self._orders]
        failures = [f for f in [failure, *reports] if f is not None]
        if failures:
            raise failures[0]


class TeamEngine(Engine):
    """An engine whose rows are divided among a team, a contiguous part a thread: for work on whole vectors (P,).

    Every output element has one writer, so the result does not depend on the size of the team.

    Parameters
    ----------
    engine : Engine
        Runs each part.
    team : Team
    """

    def __init__(self, engine: Engine, team: Team) -> None:
        super().__init__(engine.dtype)
        self.engine, self.team, self.name = engine, team, engine.name

    def rows(self, body: Body, n: int, *args: Any) -> None:
        """Run `body` over the rows 0 .. n-1."""
        count = self.team.size
        self.team.run(lambda i: self.engine.part(body, n * i // count, n * (i + 1) // count, *args), count)


def _help(helper: int, size: int, orders: Orders, reports: Reports) -> None:
    """Follow orders until there is none."""
    while (order := orders.get()) is not None:
        report = _share(*order, helper, size)
        del order  # a sleeping thread must not keep the memory of its last job
        reports.put(report)
        del report


def _dismiss(team: list[Orders]) -> None:
    for orders in team:
        orders.put(None)


def _share(job: Job, n: int, first: int, step: int) -> BaseException | None:
    """Run every step-th job from the first on; return what stopped it, if anything."""
    try:
        for i in range(first, n, step):
            job(i)
    except BaseException as failure:
        return failure
    return None
