"""Speed on the CUDA device: R replicas' training, what a run costs beside R - 1 others; and Hessian products."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from minigrok.config import Config
from minigrok.engine import device
from minigrok.network.objective import Objective
from minigrok.peers.problem import Problem, Work
from minigrok.peers.products import step_products
from minigrok.training.fleet_train import Replica, Replicas

PRODUCTS = Work("hvp"), Work("hvp", "float64", "train")  # as on the CPU


class Rate(NamedTuple):
    """What was measured for one number of replicas."""

    replicas: int
    step: float  # seconds a step of all replicas: the median block over its steps
    evaluation: float  # seconds for all replicas on all pairs, the median
    run_steps: float  # steps of single runs a second: replicas / step
    flops: float  # operations a second of the matrix products alone
    share: float | None  # of the device's float32 peak; None for float64 and in the simulator


class Products(NamedTuple):
    """What was measured for Hessian products."""

    dtype: str
    pairs: int
    seconds: float  # of one, the median: further directions at one point, as Lanczos asks for them
    first: float  # of the first at a point: forward and backward pass, too


def rates(config: Config, counts: Sequence[int], blocks: int = 5) -> Iterator[Rate]:
    """Measure training steps and evaluations, copies between host and device included.

    Parameters
    ----------
    config : Config
        Its seed and those that follow make the replicas.
    counts : sequence of int
        Numbers of replicas.
    blocks : int
        How many blocks of `train.eval_every` steps, which is what training does between two evaluations, are timed.

    Yields
    ------
    Rate
        One for each count; the first block, which compiles, is not counted.
    """
    here, steps = _with_engine(config, "cuda"), config.train.eval_every
    flop = sum(product.flop for product in step_products(Problem(_with_engine(config, "cpu"), Work("step"))))
    peak = device.peak() if config.compute.dtype == "float32" else None
    for count in counts:
        replicas = Replicas([Replica(replace(here, seed=config.seed + r)) for r in range(count)])
        replicas.block(steps)
        replicas.score()
        step = _median(partial(replicas.block, steps), blocks) / steps
        evaluation = _median(replicas.score, blocks)
        flops = flop * count / step
        yield Rate(count, step, evaluation, count / step, flops, flops / peak if peak else None)


def products(config: Config, repeats: int = 20) -> Iterator[Products]:
    """Measure Hessian products of one run, the copies of direction and result included.

    Parameters
    ----------
    config : Config
    repeats : int    products that are timed, and a quarter as many points

    Yields
    ------
    Products
        float32 on a batch, float64 on all train pairs
    """
    for work in PRODUCTS:
        problem = Problem(config, work)
        objective = Objective(config, problem.tokens, problem.targets, engine="cuda", dtype=work.dtype)
        (theta, other), v = problem.points, problem.directions[:, 0]
        turn = [theta, other]

        def first(objective: Objective = objective, turn: list[object] = turn, v: object = v) -> None:
            turn.reverse()
            objective.hvp(turn[0], v)  # type: ignore[arg-type]

        first()  # compiles
        at_new_points = _median(first, max(1, repeats // 4))
        again = partial(objective.hvp, turn[0], v)
        again()  # recorded
        yield Products(work.dtype, len(problem.tokens), _median(again, repeats), at_new_points)


def _with_engine(config: Config, engine: str) -> Config:
    """Return the config on another engine and in one shard, as on the device."""
    return replace(config, compute=replace(config.compute, engine=engine, shards=1))  # type: ignore[arg-type]


def _median(work: Callable[[], object], count: int) -> float:
    return sorted(_seconds(work) for _ in range(count))[count // 2]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
