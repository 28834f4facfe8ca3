"""PyTorch at the benchmark's works: eager, and compiled by torch.compile.

Where PyTorch offers several ways, each is tried and the fastest is timed. The compiled peer has no double backward
(AOTAutograd refuses it), so its Hv is forward over reverse by torch.func.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jvp, vmap
from torch.func import grad as gradient_of
from torch.nn import functional

from minigrok.config import Config
from minigrok.peers import torch_twin as twin
from minigrok.peers.problem import Array, Peer, Problem, fastest, step_outcome
from minigrok.peers.torch_model import TorchModel

COMPILED = "compile"  # name of the compiled peer
CHUNKS = (512, 2048)  # pairs at once in an evaluation, besides all


def build(config: Config, theta: Array) -> TorchModel:
    """Return the model of a configuration at theta (P,)."""
    task, m = config.task, config.model
    model = TorchModel(
        task.p, m.width, m.heads, m.mlp_width, m.blocks, task.operations, m.norm_eps, m.attention, m.norm
    )
    twin.load(model, theta)
    return model


class Step:
    """A training step."""

    def __init__(self, problem: Problem, compiled: bool) -> None:
        self.problem, table = problem, problem.table
        self.model = build(problem.config, problem.points[0])
        self.tokens = torch.tensor(table.tokens[table.train])
        self.targets = torch.tensor(table.targets[:, table.train])
        self.weights = [1.0] * len(self.targets)
        self.loss = torch.compile(self._loss, dynamic=False) if compiled else self._loss
        self.stream = problem.stream()
        ways = {"fused": {"fused": True}, "foreach": {"foreach": True}, "for-loop": {"foreach": False}}
        self.optimisers = {f"{name} AdamW": self._adamw(**way) for name, way in ways.items()}
        self.steps = {name: self._make_step(optimiser) for name, optimiser in self.optimisers.items()}
        if compiled:
            self.optimisers["compiled AdamW"] = self._adamw(foreach=False)
            self.steps["compiled AdamW"] = self._make_step(self.optimisers["compiled AdamW"], torch.compile)
        self.note = fastest({name: self._run_as(name) for name in self.steps}, problem.choose)
        self.restart()

    def run(self) -> float:
        """Make a step and return the loss before it."""
        return self._run_as(self.note)()

    def restart(self) -> None:
        """Go back to the first point, with moments of 0 and the stream at its start."""
        twin.load(self.model, self.problem.points[0])
        for state in self.optimisers[self.note].state.values():
            for value in state.values():
                value.zero_()
        self.stream = self.problem.stream()

    def gradient(self, tokens: Array, targets: Array) -> tuple[float, Array]:
        """Return loss and gradient of a batch, by the very function that is timed."""
        self.model.zero_grad()
        value = self.loss(torch.tensor(tokens), torch.tensor(targets))
        value.backward()
        return float(value.detach()), twin.join(q.grad for q in self.model.parameters())

    def theta(self) -> Array:
        """Return the present parameters."""
        return twin.flat(self.model)

    def outcome(self) -> dict[str, Array]:
        """See `step_outcome`."""
        return step_outcome(self, self.problem)

    def _loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        return twin.batch_loss(self.model, tokens, targets, self.weights)

    def _adamw(self, **implementation: bool) -> torch.optim.AdamW:
        s = self.problem.config.optimiser
        return twin.adamw(
            self.model,
            lr=s.learning_rate,
            betas=(s.beta1, s.beta2),
            eps=s.eps,
            weight_decay=s.weight_decay,
            **implementation,
        )

    def _make_step(self, optimiser: torch.optim.Optimizer, wrap: Any = lambda update: update) -> Any:
        return twin.make_step(self.model, self.loss, optimiser, self.problem.config.optimiser.clip_norm, wrap)

    def _run_as(self, name: str) -> Callable[[], float]:
        step = self.steps[name]

        def run() -> float:
            rows = torch.from_numpy(self.stream.next())
            return float(step(self.tokens[rows], self.targets[:, rows]))

        return run


class Hvp:
    """Hv at two points in turn, so that no graph of the last call can be kept."""

    def __init__(self, problem: Problem, compiled: bool) -> None:
        self.models = [build(problem.config, theta) for theta in problem.points]
        self.parameters = [{name: q.detach() for name, q in model.named_parameters()} for model in self.models]
        self.tokens, self.targets = torch.tensor(problem.tokens), torch.tensor(problem.targets)
        self.weights = [1.0] * len(self.targets)
        self.split = [twin.split(self.models[0], v) for v in problem.directions.T]
        stacked = [torch.stack(parts) for parts in zip(*self.split, strict=True)]
        self.tangents = dict(zip(self.parameters[0], stacked, strict=True))
        self.product = torch.compile(self._product, dynamic=False) if compiled else self._product
        ways = {"forward over reverse": self._forward_over_reverse}
        if not compiled:
            ways = {"double backward": self._double_backward} | ways
        self.note = fastest({name: partial(way, 0) for name, way in ways.items()}, problem.choose)
        self.way, self.turn = ways[self.note], 0

    def run(self) -> Any:
        """Return H v at the next point."""
        self.turn = 1 - self.turn
        return self.way(self.turn)

    def outcome(self) -> dict[str, Array]:
        """H v (P, k) at the first point."""
        columns = [torch.tensor(twin.join(parts)) for parts in self.way(0)]
        return {"hvp": torch.stack(columns, 1).numpy()}

    def _double_backward(self, point: int) -> Sequence[Sequence[Tensor]]:
        with twin.exact_attention():
            value = twin.batch_loss(self.models[point], self.tokens, self.targets, self.weights)
            return twin.double_backward(self.models[point], value, self.split)

    def _forward_over_reverse(self, point: int) -> Sequence[Sequence[Tensor]]:
        with twin.exact_attention():
            products = self.product(self.parameters[point], self.tangents)
        return list(zip(*products.values(), strict=True))

    def _product(self, parameters: dict[str, Tensor], tangents: dict[str, Tensor]) -> Any:
        def one(tangent: dict[str, Tensor]) -> Any:
            return jvp(gradient_of(self._loss), (parameters,), (tangent,))[1]

        if len(self.split) > 1:
            return vmap(one)(tangents)
        single = one({name: v[0] for name, v in tangents.items()})
        return {name: v[None] for name, v in single.items()}

    def _loss(self, parameters: dict[str, Tensor]) -> Tensor:
        logits = functional_call(self.models[0], parameters, (self.tokens,))
        terms = [functional.cross_entropy(z, t) for z, t in zip(logits, self.targets, strict=True)]
        return torch.stack(terms).sum()


class Eval:
    """Loss and accuracy; the model in eval mode, which lets PyTorch take its fused path, or in train mode."""

    def __init__(self, problem: Problem, compiled: bool) -> None:
        self.tokens, self.targets = torch.tensor(problem.tokens), torch.tensor(problem.targets)
        self.model = build(problem.config, problem.points[0])
        self.forward = torch.compile(self.model, dynamic=False) if compiled else self.model
        size = len(self.tokens)
        sizes = [size] if compiled else [size, *(chunk for chunk in CHUNKS if chunk < size)]
        ways = {
            f"{'train' if train else 'eval'} mode, {chunk} pairs at once": (train, chunk)
            for train in (False, True)
            for chunk in sizes
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

    def _scores(self, train: bool, chunk: int) -> dict[str, Array]:
        self.model.train(train)
        with torch.inference_mode():
            parts = [
                self._part(*part) for part in zip(self.tokens.split(chunk), self.targets.split(chunk, 1), strict=True)
            ]
            loss, correct = (torch.stack(each).sum(0) / len(self.tokens) for each in zip(*parts, strict=True))
        return {"loss": loss.numpy(), "accuracy": correct.numpy()}

    def _part(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Sums (n_tasks,) of losses and of right answers."""
        pairs = list(zip(self.forward(tokens), targets, strict=True))
        loss = [functional.cross_entropy(z, t, reduction="sum") for z, t in pairs]
        return torch.stack(loss), torch.stack([(z.argmax(1) == t).sum() for z, t in pairs])


def open_peer(name: str, problem: Problem) -> Peer:
    """Return PyTorch, "eager" or "compile", ready for the work of `problem`."""
    torch.set_num_threads(problem.threads)
    kinds: dict[str, type[Step] | type[Hvp] | type[Eval]] = {"step": Step, "hvp": Hvp, "eval": Eval}
    return kinds[problem.work.kind](problem, name == COMPILED)
