"""minigrok itself as a contender."""

from __future__ import annotations

import numpy as np

from minigrok.engine import Array
from minigrok.network.evaluation import Evaluation, Scores
from minigrok.network.objective import Objective
from minigrok.network.sharded import Sharded
from minigrok.peers.problem import Peer, Problem, step_outcome
from minigrok.peers.products import step_products
from minigrok.training.trainer import Trainer


class Step:
    """A training step, as `minigrok train` makes it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.trainer = Trainer(problem.config, problem.threads, problem.points[0])
        self.note = f"{problem.config.compute.shards} shards"

    def run(self) -> float:
        """Make a step and return the loss before it."""
        return float(self.trainer.step().sum())

    def gradient(self, tokens: Array, targets: Array) -> tuple[float, Array]:
        """Return loss and gradient of a batch."""
        net, grad = self.trainer.net, np.empty_like(self.trainer.grad)
        net.load(tokens, targets)
        losses = net.forward()
        net.backward(grad)
        return float(losses.sum()), grad

    def theta(self) -> Array:
        """Return the present parameters."""
        return self.trainer.net.theta.copy()

    def outcome(self) -> dict[str, Array]:
        """See `step_outcome`."""
        return step_outcome(self, self.problem)

    def flop(self) -> int:
        """Floating-point operations of the matrix products of a step."""
        return sum(product.flop for product in step_products(self.problem))


class Hvp:
    """Hv by the R-operator; the point changes in each call, so that no pass of the last one can be kept."""

    def __init__(self, problem: Problem) -> None:
        config, work, self.problem = problem.config, problem.work, problem
        self.objective = Objective(config, problem.tokens, problem.targets, dtype=work.dtype, threads=problem.threads)
        self.points = list(problem.points)
        v = problem.directions
        self.v = v if work.directions > 1 else np.ascontiguousarray(v[:, 0])
        self.note = "R-operator"

    def run(self) -> Array:
        """Return H v at the next point."""
        self.points.reverse()
        return self.objective.hvp(self.points[1], self.v)

    def outcome(self) -> dict[str, Array]:
        """H v at the first point."""
        return {"hvp": self.objective.hvp(self.problem.points[0], self.v).reshape(len(self.v), -1)}


class Eval:
    """Loss and accuracy, as `minigrok train` evaluates."""

    def __init__(self, problem: Problem) -> None:
        compute = problem.config.compute
        net = Sharded(problem.config, compute.engine, problem.work.dtype, compute.shards, problem.threads)
        net.theta[:] = problem.points[0]
        self.evaluation = Evaluation(net, problem.tokens, problem.targets)
        self.note = "chunks of 256 pairs"

    def run(self) -> Scores:
        """Return the scores."""
        return self.evaluation.scores()

    def outcome(self) -> dict[str, Array]:
        """Loss and accuracy of each task."""
        scores = self.run()
        return {"loss": scores.loss, "accuracy": scores.accuracy}


def open_peer(name: str, problem: Problem) -> Peer:
    """Return minigrok, ready for the work of `problem`."""
    kinds: dict[str, type[Step] | type[Hvp] | type[Eval]] = {"step": Step, "hvp": Hvp, "eval": Eval}
    return kinds[problem.work.kind](problem)
