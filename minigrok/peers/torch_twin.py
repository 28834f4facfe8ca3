"""The PyTorch twin of minigrok: the oracle of the tests and the benchmark's peer.

Flat vectors are NumPy arrays theta (P,), v (P,) in the order of the state_dict; their dtype, float32 or
float64, is the dtype of the computation. A batch is tokens (B, T = 2) and targets (K, B), integers; targets
and weights (K,) hold one row a task, in the order of the operations:

    loss(theta) = sum_k weights[k] mean_i CE(logits_k[i], targets[k, i])        K tasks, B pairs

The model, and why it stays in train mode: `torch_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

Floats = NDArray[Any]
Integers = NDArray[np.integer]
Loss = Callable[[Tensor, Tensor], Tensor]  # of tokens and targets, at a model's parameters


def flat(model: nn.Module) -> Floats:
    """Return the parameters as one vector theta (P,), a copy."""
    return nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()


def load(model: nn.Module, theta: Floats) -> None:
    """Set the parameters to theta (P,), and the model to its dtype."""
    model.to(torch.tensor(theta).dtype)
    with torch.no_grad():
        for q, value in zip(model.parameters(), split(model, theta), strict=True):
            q.copy_(value)


def batch_loss(model: nn.Module, tokens: Tensor, targets: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the scalar loss at the model's parameters, on tensors, differentiable."""
    terms = zip(weights, model(tokens), targets, strict=True)
    return torch.stack([float(w) * functional.cross_entropy(z, t) for w, z, t in terms]).sum()


def grad(model: nn.Module, theta: Floats, tokens: Integers, targets: Integers, weights: Sequence[float]) -> Floats:
    """Return the gradient (P,) of the loss at theta."""
    load(model, theta)
    with exact_attention():
        value = batch_loss(model, indices(tokens), indices(targets), weights)
        return join(torch.autograd.grad(value, list(model.parameters())))


def hvp(
    model: nn.Module, theta: Floats, v: Floats, tokens: Integers, targets: Integers, weights: Sequence[float]
) -> Floats:
    """Return H v (P,), H the Hessian of the loss at theta."""
    load(model, theta)
    with exact_attention():
        value = batch_loss(model, indices(tokens), indices(targets), weights)
        return join(double_backward(model, value, [split(model, v)])[0])


def double_backward(model: nn.Module, value: Tensor, directions: Sequence[list[Tensor]]) -> list[tuple[Tensor, ...]]:
    """Return H v of each direction: the gradient of gradient . v, the gradient's graph shared."""
    parameters = list(model.parameters())
    gradient = torch.autograd.grad(value, parameters, create_graph=True)
    last = len(directions) - 1
    return [torch.autograd.grad(gradient, parameters, v, retain_graph=i < last) for i, v in enumerate(directions)]


def adamw(
    model: nn.Module,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.98),
    eps: float = 1e-8,
    weight_decay: float = 1.0,
    **implementation: bool,
) -> torch.optim.AdamW:
    """Return the optimiser of the paper's code; `implementation` is none, foreach=True or fused=True."""
    return torch.optim.AdamW(
        model.parameters(), lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, **implementation
    )


def make_step(
    model: nn.Module,
    loss: Loss,
    optimiser: torch.optim.Optimizer,
    max_norm: float = 1.0,
    wrap: Callable[[Callable[[], None]], Callable[[], None]] = lambda update: update,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return step(tokens, targets), tensors: one training step in place, which returns the loss.

    Order as in the paper's code: forward, zero grad, backward, clip the global norm, optimiser.

    Parameters
    ----------
    model : nn.Module
    loss : function of tokens and targets, at the model's parameters
    optimiser : torch.optim.Optimizer
    max_norm : float
        Of the whole gradient.
    wrap : function
        What to make of the update (clipping and optimiser): torch.compile, for example.
    """
    parameters = list(model.parameters())
    many_at_once = bool(optimiser.defaults["foreach"] or optimiser.defaults["fused"])

    def update() -> None:
        nn.utils.clip_grad_norm_(parameters, max_norm, foreach=many_at_once)
        optimiser.step()

    wrapped = wrap(update)

    def step(tokens: Tensor, targets: Tensor) -> Tensor:
        value = loss(tokens, targets)
        optimiser.zero_grad()
        value.backward()
        wrapped()
        return value.detach()

    return step


@contextmanager
def exact_attention() -> Iterator[None]:
    """Attention from plain operations: the fused kernels have no second derivative."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def split(model: nn.Module, v: Floats) -> list[Tensor]:
    """Return v (P,) as one tensor a parameter."""
    parameters = list(model.parameters())
    parts = torch.tensor(v).split([q.numel() for q in parameters])
    return [u.view_as(q) for u, q in zip(parts, parameters, strict=True)]


def join(tensors: Iterable[Tensor]) -> Floats:
    """Return one tensor a parameter as a vector (P,)."""
    return nn.utils.parameters_to_vector(tensors).detach().numpy()


def indices(a: Integers) -> Tensor:
    """Return whole numbers as PyTorch indexes with them."""
    return torch.tensor(a, dtype=torch.int64)
