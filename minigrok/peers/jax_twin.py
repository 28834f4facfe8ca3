"""The JAX twin of minigrok: the same model in plain jax.numpy, for the benchmark.

Parameters are a dict of name to array, names and shapes those of `minigrok.network.params.layout` (a dict is also
faster in XLA than slices of one vector). The softmax attention can be written with products or with sums of elementwise
products; which is faster at T = 2 depends on the work and the machine, so both are here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from minigrok.config import Config, Optimiser
from minigrok.network.params import layout

Parameters = dict[str, Any]
Attention = Callable[[Any, Any, Any], Any]  # of q, k, v (B, T, H, K) to (B, T, H, K)


def parameters(config: Config, theta: Any) -> Parameters:
    """Return theta (..., P) as named arrays (..., *shape)."""
    return {name: jnp.array(array) for name, array in layout(config).views(theta).items()}


def flat(config: Config, named: Mapping[str, Any]) -> Any:
    """Return named arrays as theta (P,), a NumPy array."""
    arrays = {name: np.asarray(array) for name, array in named.items()}
    return layout(config).flat(arrays, next(iter(arrays.values())).dtype)


def attend_by_products(q: Any, k: Any, v: Any) -> Any:
    """Softmax attention as batched matrix products."""
    scores = jnp.einsum("bthk,bshk->bhts", q, k) / math.sqrt(q.shape[-1])
    return jnp.einsum("bhts,bshk->bthk", jax.nn.softmax(scores), v)


def attend_by_sums(q: Any, k: Any, v: Any) -> Any:
    """Softmax attention as sums of elementwise products, which XLA fuses."""
    scores = (q[:, :, None] * k[:, None]).sum(-1) / math.sqrt(q.shape[-1])  # (B, T, S, H)
    return (jax.nn.softmax(scores, 2)[..., None] * v[:, None]).sum(2)


ATTENTION: dict[str, Attention] = {"products": attend_by_products, "sums": attend_by_sums}


def logits(config: Config, w: Parameters, tokens: Any, attend: Attention) -> list[Any]:
    """Return the logits (B, V) of every operation; tokens (B, 2)."""
    x = w["tok_emb.weight"][tokens] + w["pos_emb"]  # (B, T, D)
    for i in range(config.model.blocks):
        x = _block(config, w, f"encoder.layers.{i}", x, attend)
    x = _norm(config, w, "norm", x[:, 0])
    return [_linear(w, f"heads.{operation}", x) for operation in config.task.operations]


def losses(config: Config, w: Parameters, tokens: Any, targets: Any, attend: Attention) -> Any:
    """Return the mean cross-entropy of each task, (n_tasks,)."""
    each = [
        -jnp.take_along_axis(jax.nn.log_softmax(z), target[:, None], 1).mean()
        for z, target in zip(logits(config, w, tokens, attend), targets, strict=True)
    ]
    return jnp.stack(each)


def adamw(s: Optimiser, w: Parameters, m: Parameters, v: Parameters, g: Parameters, t: Any) -> tuple[Any, Any, Any]:
    """Return parameters and moments after the t-th step: clipping by the global norm, then AdamW (see optim.py)."""
    norm = jnp.sqrt(sum(jnp.vdot(x, x) for x in g.values()))
    scale = jnp.minimum(1, s.clip_norm / (norm + 1e-6))
    rate, root = s.learning_rate / (1 - s.beta1**t), jnp.sqrt(1 - s.beta2**t)
    keep = 1 - s.learning_rate * s.weight_decay
    g = {name: scale * x for name, x in g.items()}
    m = {name: s.beta1 * m[name] + (1 - s.beta1) * x for name, x in g.items()}
    v = {name: s.beta2 * v[name] + (1 - s.beta2) * x * x for name, x in g.items()}
    w = {name: keep * x - rate * m[name] / (jnp.sqrt(v[name]) / root + s.eps) for name, x in w.items()}
    return w, m, v


def _block(config: Config, w: Parameters, name: str, x: Any, attend: Attention) -> Any:
    """One pre-norm block (B, T, D)."""
    B, T, D = x.shape
    qkv = _dense(
        w, f"{name}.self_attn.in_proj_weight", f"{name}.self_attn.in_proj_bias", _norm(config, w, f"{name}.norm1", x)
    )
    q, k, v = jnp.moveaxis(qkv.reshape(B, T, 3, config.model.heads, config.model.head_width), 2, 0)
    x = x + _linear(w, f"{name}.self_attn.out_proj", attend(q, k, v).reshape(B, T, D))
    hidden = _linear(w, f"{name}.linear1", _norm(config, w, f"{name}.norm2", x))
    return x + _linear(w, f"{name}.linear2", jax.nn.gelu(hidden, approximate=False))


def _norm(config: Config, w: Parameters, name: str, x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + config.model.norm_eps)
    return centred * scale * w[f"{name}.weight"] + w[f"{name}.bias"]


def _linear(w: Parameters, name: str, x: Any) -> Any:
    return _dense(w, f"{name}.weight", f"{name}.bias", x)


def _dense(w: Parameters, weight: str, bias: str, x: Any) -> Any:
    return x @ w[weight].T + w[bias]
