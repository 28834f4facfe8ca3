"""A training step by kernel: the recorded calls of a gradient, each timed, and what follows them.

One thread, one call at a time: shards of a step do the same side by side, so shares hold for any number of threads.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from minigrok.bench.settings import Progress, Settings
from minigrok.engine.threads import one_blas_thread
from minigrok.training.optim import norm
from minigrok.training.trainer import Trainer

PASSES = 60  # over all calls; the median of each call is kept (our choice)
Named = tuple[str, float, Callable[[], Any]]  # kernel, floating-point operations if it is a product, call


def profile(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Return one row a kernel, the longest first: calls, milliseconds and share of a step, GFLOP/s of products."""
    trainer = Trainer(settings.config, threads=1)
    for _ in range(3):
        trainer.step()
    calls = _calls(trainer)
    taken: list[list[float]] = [[] for _ in calls]
    with one_blas_thread():
        for done in range(PASSES):
            if done % 10 == 0:
                progress(done, PASSES, "passes over the calls of a step")
            for times, (_, _, call) in zip(taken, calls, strict=True):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
    progress(PASSES, PASSES, "done")
    rows: dict[str, dict[str, Any]] = defaultdict(lambda: {"calls": 0, "ms": 0.0, "flop": 0.0})
    for times, (name, flop, _) in zip(taken, calls, strict=True):
        row = rows[name]
        row["calls"], row["ms"], row["flop"] = row["calls"] + 1, row["ms"] + 1e3 * median(times), row["flop"] + flop
    whole = sum(row["ms"] for row in rows.values())
    ordered = sorted(rows.items(), key=lambda item: -item[1]["ms"])
    return [{"kernel": name, "share": row["ms"] / whole} | row for name, row in ordered]


def _calls(trainer: Trainer) -> list[Named]:
    """Return what a step runs: the calls of each shard, then those over all parameters."""
    net, grad = trainer.net, np.array(trainer.grad)
    found = [_named(function, args) for shard in net.shards for function, args in shard.calls]
    size = norm(net.engine, grad)
    return [
        *found,
        ("shards added", 0.0, lambda: net.reduce(grad)),
        ("gradient norm", 0.0, lambda: norm(net.engine, grad)),
        ("AdamW", 0.0, lambda: trainer.adamw.step(net.theta, grad, size)),
    ]


def _named(function: Callable[..., Any], args: tuple[Any, ...]) -> Named:
    if function is np.matmul:
        (M, K), N = args[0].shape, args[1].shape[1]
        return "matrix products", 2.0 * M * K * N, lambda: function(*args)
    return f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__.strip('_')}", 0.0, lambda: function(*args)
