"""The PyTorch twin of minigrok: what the oracle tests compare with, and the benchmark's peer.

Flat vectors are NumPy arrays theta (P,), v (P,) in the order of the state_dict; their dtype, float32 or
float64, is the dtype of the computation. A batch is tokens (B, T = 2) and targets (K, B), integers; targets
and weights (K,) hold one row a task, in the order of the operations:

    loss(theta) = sum_k weights[k] mean_i CE(logits_k[i], targets[k, i])        K tasks, B pairs

The model stays in train mode (dropout is 0): in eval mode nn.TransformerEncoderLayer may take a fused path.
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

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


class OracleModel(nn.Module):
    """Pre-norm Transformer that reads every operation's result off position 0 (PAPER.md, 1.2).

    Parameters
    ----------
    p, width, heads, mlp_width, blocks : int
        V classes and tokens, D, H, F, L.
    operations : sequence of str
        One read-out head each.
    norm_eps : float
        Of every LayerNorm.
    """

    def __init__(
        self,
        p: int,
        width: int,
        heads: int,
        mlp_width: int,
        blocks: int,
        operations: Sequence[str],
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.pos_emb = nn.Parameter(torch.randn(2, width) / width**0.5)
        self.tok_emb = nn.Embedding(p, width)
        block = nn.TransformerEncoderLayer(
            width,
            heads,
            mlp_width,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=norm_eps,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(block, blocks, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.heads = nn.ModuleDict({operation: nn.Linear(width, p) for operation in operations})

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the logits (B, V) of every operation; tokens (B, 2)."""
        x = self.norm(self.encoder(self.tok_emb(tokens) + self.pos_emb)[:, 0])
        return [head(x) for head in self.heads.values()]


def flat(model: nn.Module) -> Floats:
    """Return the parameters as one vector theta (P,), a copy."""
    return nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()


def load(model: nn.Module, theta: Floats) -> None:
    """Set the parameters to theta (P,), and the model to its dtype."""
    model.to(torch.tensor(theta).dtype)
    with torch.no_grad():
        for q, value in zip(model.parameters(), _split(model, theta), strict=True):
            q.copy_(value)


def batch_loss(model: nn.Module, tokens: Tensor, targets: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the scalar loss at the model's parameters, on tensors, differentiable."""
    terms = zip(weights, model(tokens), targets, strict=True)
    return torch.stack([float(w) * functional.cross_entropy(z, t) for w, z, t in terms]).sum()


def logits(model: nn.Module, theta: Floats, tokens: Integers) -> Floats:
    """Return the logits (K, B, V)."""
    load(model, theta)
    with torch.no_grad(), _exact_attention():
        return torch.stack(model(_indices(tokens))).numpy()


def loss(
    model: nn.Module, theta: Floats, tokens: Integers, targets: Integers, weights: Sequence[float]
) -> float:
    """Return the loss at theta."""
    load(model, theta)
    with torch.no_grad(), _exact_attention():
        return float(batch_loss(model, _indices(tokens), _indices(targets), weights))


def grad(
    model: nn.Module, theta: Floats, tokens: Integers, targets: Integers, weights: Sequence[float]
) -> Floats:
    """Return the gradient (P,) of the loss at theta."""
    load(model, theta)
    with _exact_attention():
        value = batch_loss(model, _indices(tokens), _indices(targets), weights)
        return _join(torch.autograd.grad(value, list(model.parameters())))


def hvp(
    model: nn.Module,
    theta: Floats,
    v: Floats,
    tokens: Integers,
    targets: Integers,
    weights: Sequence[float],
) -> Floats:
    """Return H v (P,), H the Hessian of the loss at theta: the gradient of gradient . v."""
    load(model, theta)
    parameters = list(model.parameters())
    with _exact_attention():
        value = batch_loss(model, _indices(tokens), _indices(targets), weights)
        gradient = torch.autograd.grad(value, parameters, create_graph=True)
        return _join(torch.autograd.grad(gradient, parameters, _split(model, v)))


def jvp(model: nn.Module, theta: Floats, v: Floats, tokens: Integers) -> Floats:
    """Return J v (K, B, V), the directional derivative of the logits along v."""
    load(model, theta)
    with _exact_attention():
        return _push(model, torch.stack(model(_indices(tokens))), v).numpy()


def ggn_vp(
    model: nn.Module,
    theta: Floats,
    v: Floats,
    tokens: Integers,
    targets: Integers,
    weights: Sequence[float],
) -> Floats:
    """Return G v (P,), G = J' (d^2 loss / d logits^2) J the generalised Gauss-Newton matrix at theta.

    For the logits of one pair and task, with s = softmax, it is (weight / B) (diag(s) - s s'). The targets do
    not matter; they are an argument to keep the signatures alike.
    """
    load(model, theta)
    with _exact_attention():
        z = torch.stack(model(_indices(tokens)))
        u = _push(model, z, v)
        s = z.detach().softmax(-1)
        scale = torch.tensor(weights, dtype=z.dtype)[:, None, None] / len(tokens)
        dz = scale * s * (u - (s * u).sum(-1, keepdim=True))
        return _join(torch.autograd.grad(z, list(model.parameters()), dz))


def make_step(
    model: nn.Module,
    weights: Sequence[float],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.98),
    eps: float = 1e-8,
    weight_decay: float = 1.0,
    max_norm: float = 1.0,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return step(tokens, targets), tensors: one training step in place, which returns the loss.

    Order as in PAPER.md, 1.3: forward, zero grad, backward, clip the global norm, AdamW as PyTorch has it.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def step(tokens: Tensor, targets: Tensor) -> Tensor:
        value = batch_loss(model, tokens, targets, weights)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimiser.step()
        return value.detach()

    return step


def train_steps(
    model: nn.Module,
    theta: Floats,
    batches: Iterable[tuple[Integers, Integers]],
    weights: Sequence[float],
    **settings: Any,
) -> tuple[Floats, Floats]:
    """Return theta after each step (n, P) and the loss before each step (n,); batches of (tokens, targets).

    `settings` are those of `make_step`.
    """
    load(model, theta)
    step = make_step(model, weights, **settings)
    path, losses = [], []
    for tokens, targets in batches:
        losses.append(step(_indices(tokens), _indices(targets)))
        path.append(flat(model))
    return np.stack(path), torch.stack(losses).numpy()


@contextmanager
def _exact_attention() -> Iterator[None]:
    """Attention from plain operations: the fused kernels have no second derivative."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def _push(model: nn.Module, z: Tensor, v: Floats) -> Tensor:
    """Return J v from two backward passes: J' u is linear in u, and (J' u) . v has the gradient J v by u."""
    parameters = list(model.parameters())
    u = torch.zeros_like(z, requires_grad=True)
    pulled = torch.autograd.grad(z, parameters, u, create_graph=True)
    return torch.autograd.grad(pulled, u, _split(model, v), retain_graph=True)[0]


def _split(model: nn.Module, v: Floats) -> list[Tensor]:
    parameters = list(model.parameters())
    parts = torch.tensor(v).split([q.numel() for q in parameters])
    return [u.view_as(q) for u, q in zip(parts, parameters, strict=True)]


def _join(tensors: Iterable[Tensor]) -> Floats:
    return nn.utils.parameters_to_vector(tensors).detach().numpy()


def _indices(a: Integers) -> Tensor:
    return torch.tensor(a, dtype=torch.int64)
