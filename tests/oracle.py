"""The oracle of the tests: what the PyTorch twin (minigrok.peers.torch_twin) computes, as functions of theta.

Conventions, loss and gradient are the twin's; here is what the benchmark does not need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minigrok.peers.torch_model import TorchModel as OracleModel
from minigrok.peers.torch_twin import (
    Floats,
    Integers,
    adamw,
    batch_loss,
    exact_attention,
    flat,
    grad,
    hvp,
    indices,
    join,
    load,
    make_step,
    split,
)

__all__ = ["OracleModel", "flat", "ggn_vp", "grad", "hvp", "jvp", "load", "logits", "loss", "train_steps"]


def logits(model: nn.Module, theta: Floats, tokens: Integers) -> Floats:
    """Return the logits (K, B, V)."""
    load(model, theta)
    with torch.no_grad(), exact_attention():
        return torch.stack(model(indices(tokens))).numpy()


def loss(model: nn.Module, theta: Floats, tokens: Integers, targets: Integers, weights: Sequence[float]) -> float:
    """Return the loss at theta."""
    load(model, theta)
    with torch.no_grad(), exact_attention():
        return float(batch_loss(model, indices(tokens), indices(targets), weights))


def jvp(model: nn.Module, theta: Floats, v: Floats, tokens: Integers) -> Floats:
    """Return J v (K, B, V), the directional derivative of the logits along v."""
    load(model, theta)
    with exact_attention():
        return _push(model, torch.stack(model(indices(tokens))), v).numpy()


def ggn_vp(
    model: nn.Module, theta: Floats, v: Floats, tokens: Integers, targets: Integers, weights: Sequence[float]
) -> Floats:
    """Return G v (P,), G = J' (d^2 loss / d logits^2) J the generalised Gauss-Newton matrix at theta.

    For the logits of one pair and task, with s = softmax, it is (weight / B) (diag(s) - s s'). The targets do
    not matter; they are an argument to keep the signatures alike.
    """
    load(model, theta)
    with exact_attention():
        z = torch.stack(model(indices(tokens)))
        u = _push(model, z, v)
        s = z.detach().softmax(-1)
        scale = torch.tensor(weights, dtype=z.dtype)[:, None, None] / len(tokens)
        dz = scale * s * (u - (s * u).sum(-1, keepdim=True))
        return join(torch.autograd.grad(z, list(model.parameters()), dz))


def train_steps(
    model: nn.Module,
    theta: Floats,
    batches: Iterable[tuple[Integers, Integers]],
    weights: Sequence[float],
    max_norm: float = 1.0,
    **settings: Any,
) -> tuple[Floats, Floats]:
    """Return theta after each step (n, P) and the loss before each step (n,); batches of (tokens, targets).

    `settings` are those of `torch_twin.adamw`.
    """
    load(model, theta)

    def total(tokens: Tensor, targets: Tensor) -> Tensor:
        return batch_loss(model, tokens, targets, weights)

    step = make_step(model, total, adamw(model, **settings), max_norm)
    path, losses = [], []
    for tokens, targets in batches:
        losses.append(step(indices(tokens), indices(targets)))
        path.append(flat(model))
    return np.stack(path), torch.stack(losses).numpy()


def _push(model: nn.Module, z: Tensor, v: Floats) -> Tensor:
    """Return J v from two backward passes: J' u is linear in u, and (J' u) . v has the gradient J v by u."""
    parameters = list(model.parameters())
    u = torch.zeros_like(z, requires_grad=True)
    pulled = torch.autograd.grad(z, parameters, u, create_graph=True)
    return torch.autograd.grad(pulled, u, split(model, v), retain_graph=True)[0]
