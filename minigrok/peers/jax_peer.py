"""JAX at the benchmark's works: everything jitted, the training step with donated buffers, Hv forward over reverse.

    jax          attention by einsum products, as users write it
    jax-tuned    the faster of that and of sums of elementwise products, chosen anew for each work

Both take the faster way of what is not attention: directions by vmap or one by one, pairs all at once or in chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from minigrok.peers import jax_twin as twin
from minigrok.peers.problem import Array, Peer, Problem, fastest, step_outcome

TUNED = "jax-tuned"  # name of the peer that chooses how to write attention
CHUNKS = (512, 2048)  # pairs at once in an evaluation, besides all

Ways = Mapping[str, twin.Attention]


class Step:
    """A training step; the batch is drawn outside, as all contenders do, and gathered inside."""

    def __init__(self, problem: Problem, attention: Ways) -> None:
        self.problem, self.config, table = problem, problem.config, problem.table
        self.tokens = jnp.asarray(table.tokens[table.train], jnp.int32)
        self.targets = jnp.asarray(table.targets[:, table.train], jnp.int32)
        self.steps = {name: self._make_step(attend) for name, attend in attention.items()}
        self.restart()
        name = fastest({name: self._run_as(name) for name in self.steps}, problem.choose)
        self.note, self.attend = f"attention by {name}", attention[name]
        self.run_once = self._run_as(name)
        self.restart()

    def run(self) -> float:
        """Make a step and return the loss before it."""
        return self.run_once()

    def restart(self) -> None:
        """Go to the first point, with moments of 0 and the stream at its start."""
        w = twin.parameters(self.config, self.problem.points[0])
        m, v = ({name: jnp.zeros_like(array) for name, array in w.items()} for _ in range(2))
        self.state = w, m, v, jnp.zeros((), w["pos_emb"].dtype)
        self.stream = self.problem.stream()

    def gradient(self, tokens: Array, targets: Array) -> tuple[float, Array]:
        """Return loss and gradient of a batch."""
        differentiate = jax.jit(jax.value_and_grad(self._loss), static_argnums=3)
        value, grad = differentiate(self.state[0], tokens, targets, self.attend)
        return float(value), twin.flat(self.config, grad)

    def theta(self) -> Array:
        """Return the present parameters."""
        return twin.flat(self.config, self.state[0])

    def outcome(self) -> dict[str, Array]:
        """See `step_outcome`."""
        return step_outcome(self, self.problem)

    def _loss(self, w: twin.Parameters, tokens: Any, targets: Any, attend: twin.Attention) -> Any:
        return twin.losses(self.config, w, tokens, targets, attend).sum()

    def _make_step(self, attend: twin.Attention) -> Callable[[Any, Any], Any]:
        def step(state: Any, rows: Any) -> Any:
            w, m, v, t = state
            tokens, targets = self.tokens[rows], self.targets[:, rows]
            value, g = jax.value_and_grad(self._loss)(w, tokens, targets, attend)
            return (*twin.adamw(self.config.optimiser, w, m, v, g, t + 1), t + 1), value

        return jax.jit(step, donate_argnums=0)

    def _run_as(self, name: str) -> Callable[[], float]:
        step = self.steps[name]

        def run() -> float:
            self.state, value = step(self.state, self.stream.next().astype(np.int32))
            return float(value)

        return run


class Hvp:
    """Hv at two points in turn; several directions by vmap, or one by one after a shared linearisation."""

    def __init__(self, problem: Problem, attention: Ways) -> None:
        self.problem, self.config = problem, problem.config
        self.tokens, self.targets = jnp.asarray(problem.tokens), jnp.asarray(problem.targets)
        self.points = [twin.parameters(self.config, theta) for theta in problem.points]
        self.v = twin.parameters(self.config, np.ascontiguousarray(problem.directions.T))
        k = problem.work.directions
        products = {"vmap": _by_vmap, "linearised once": _one_by_one} if k > 1 else {"one direction": _one}
        ways = {
            f"{how}, attention by {name}": jax.jit(self._make(product, attend))
            for how, product in products.items()
            for name, attend in attention.items()
        }
        self.note = fastest({name: partial(self._wait, way, 0) for name, way in ways.items()}, problem.choose)
        self.way, self.turn = ways[self.note], 0

    def run(self) -> Any:
        """Return H v at the next point."""
        self.turn = 1 - self.turn
        return self._wait(self.way, self.turn)

    def outcome(self) -> dict[str, Array]:
        """H v (P, k) at the first point."""
        product = self._wait(self.way, 0)
        rows = [{name: v[i] for name, v in product.items()} for i in range(self.problem.work.directions)]
        return {"hvp": np.stack([twin.flat(self.config, row) for row in rows], 1)}

    def _make(self, product: Any, attend: twin.Attention) -> Callable[[Any, Any], Any]:
        def grad(w: twin.Parameters) -> Any:
            return jax.grad(lambda w: twin.losses(self.config, w, self.tokens, self.targets, attend).sum())(w)

        return lambda w, v: product(grad, w, v)

    def _wait(self, way: Any, point: int) -> Any:
        return jax.block_until_ready(way(self.points[point], self.v))


class Eval:
    """Loss and accuracy."""

    def __init__(self, problem: Problem, attention: Ways) -> None:
        self.config = problem.config
        self.tokens = jnp.asarray(problem.tokens, jnp.int32)
        self.targets = jnp.asarray(problem.targets, jnp.int32)
        self.w = twin.parameters(self.config, problem.points[0])
        size = len(problem.tokens)
        self.part = jax.jit(self._part, static_argnums=3)
        ways = {
            f"{chunk} pairs at once, attention by {name}": (chunk, attend)
            for chunk in (size, *(chunk for chunk in CHUNKS if chunk < size))
            for name, attend in attention.items()
        }
        calls = {name: partial(self._scores, *way) for name, way in ways.items()}
        self.note = fastest(calls, problem.choose)
        self.way = ways[self.note]

    def run(self) -> dict[str, Array]:
        """Return the scores."""
        return self._scores(*self.way)

    def outcome(self) -> dict[str, Array]:
        """Loss and accuracy of each task."""
        return self.run()

    def _scores(self, chunk: int, attend: twin.Attention) -> dict[str, Array]:
        size = len(self.tokens)
        parts = [
            self.part(self.w, self.tokens[i : i + chunk], self.targets[:, i : i + chunk], attend)
            for i in range(0, size, chunk)
        ]
        loss, correct = (np.sum(each, axis=0) / size for each in zip(*parts, strict=True))
        return {"loss": loss, "accuracy": correct}

    def _part(self, w: twin.Parameters, tokens: Any, targets: Any, attend: twin.Attention) -> Any:
        """Sums (n_tasks,) of losses and of right answers."""
        z = jnp.stack(twin.logits(self.config, w, tokens, attend))  # (n_tasks, B, V)
        loss = -jnp.take_along_axis(jax.nn.log_softmax(z), targets[..., None], 2)
        return loss.sum((1, 2)), (z.argmax(2) == targets).sum(1)


def _one(grad: Any, w: Any, vs: Any) -> Any:
    """H v of the one direction in vs (1, ...)."""
    product = jax.jvp(grad, (w,), ({name: v[0] for name, v in vs.items()},))[1]
    return {name: v[None] for name, v in product.items()}


def _by_vmap(grad: Any, w: Any, vs: Any) -> Any:
    return jax.vmap(lambda v: jax.jvp(grad, (w,), (v,))[1])(vs)


def _one_by_one(grad: Any, w: Any, vs: Any) -> Any:
    return jax.lax.map(jax.linearize(grad, w)[1], vs)


def open_peer(name: str, problem: Problem) -> Peer:
    """Return "jax" or "jax-tuned", ready for the work of `problem`. Its threads are as many as the process has CPUs."""
    jax.config.update("jax_enable_x64", problem.work.dtype == "float64")
    kinds: dict[str, type[Step] | type[Hvp] | type[Eval]] = {"step": Step, "hvp": Hvp, "eval": Eval}
    attention = twin.ATTENTION if name == TUNED else {"products": twin.attend_by_products}
    return kinds[problem.work.kind](problem, attention)
