"""The matrix products of a training step: counted as they happen, and run alone to see what the machine can do.

    sgemm-step      the products of one step, shape by shape        sgemm-512, ...    square products of that size

Run alone, every thread has a stream of its own, without a word between them: no training step can be faster than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrok.engine import Array, Engine
from minigrok.engine.threads import Team
from minigrok.peers.problem import Problem
from minigrok.training.trainer import Trainer


class Product(NamedTuple):
    """Shape of one product out (M, N) = a (M, K) b (K, N), and how its factors lie in memory."""

    M: int
    K: int
    N: int
    a_transposed: bool = False
    b_transposed: bool = False

    @property
    def flop(self) -> int:
        """Multiplications and additions."""
        return 2 * self.M * self.K * self.N


class Counting:
    """An engine that notes every product that it makes.

    Parameters
    ----------
    engine : Engine
    seen : list of Product    where to note them
    """

    def __init__(self, engine: Engine, seen: list[Product]) -> None:
        self._engine, self._seen = engine, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """Note the product and make it."""
        (M, K), N = a.shape, b.shape[1]
        self._seen.append(Product(M, K, N, _is_transposed(a), _is_transposed(b)))
        self._engine.matmul(a, b, out)


def step_products(problem: Problem) -> list[Product]:
    """Products of one training step, all shards, in the order of a single thread."""
    trainer, seen = Trainer(problem.config, 1, problem.points[0]), list[Product]()
    net: Any = trainer.net
    net.engines = [Counting(engine, seen) for engine in net.engines]
    trainer.step()
    return seen


class Products:
    """A list of products on every thread at once."""

    def __init__(self, products: Sequence[Product], dtype: str, threads: int) -> None:
        self.note = f"{len(products)} products, {threads} streams"
        self._flop = threads * sum(product.flop for product in products)
        self._streams = [[_operands(product, dtype) for product in products] for _ in range(threads)]
        self._team = Team(threads)

    def run(self) -> None:
        """Make all products once."""
        self._team.run(self._stream, len(self._streams))

    def outcome(self) -> dict[str, Array]:
        """Nothing to compare."""
        return {}

    def flop(self) -> int:
        """Floating-point operations of one call."""
        return self._flop

    def _stream(self, i: int) -> None:
        for a, b, out in self._streams[i]:
            np.matmul(a, b, out=out)


def open_peer(name: str, problem: Problem) -> Products:
    """Return the products that the work names."""
    which = problem.work.kind.removeprefix("sgemm-")
    products = step_products(problem) if which == "step" else [Product(*3 * (int(which),))]
    return Products(products, problem.work.dtype, problem.threads)


def _is_transposed(a: Array) -> bool:
    return bool(a.strides[0] < a.strides[1])


def _operands(product: Product, dtype: str) -> tuple[Array, Array, Array]:
    """Factors of ones, and room for the result."""
    M, K, N, a_transposed, b_transposed = product
    a = np.ones((K, M), dtype).T if a_transposed else np.ones((M, K), dtype)
    b = np.ones((N, K), dtype).T if b_transposed else np.ones((K, N), dtype)
    return a, b, np.empty((M, N), dtype)
