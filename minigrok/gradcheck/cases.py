"""One `laws.Case` for each layer, each half block and the whole network, at sizes of the caller's choosing."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigrok.config import Config, Model, Task
from minigrok.engine import Array, Engine
from minigrok.gradcheck.laws import Case, Tree, tree_map
from minigrok.layers import (
    attention,
    cosine,
    cross_entropy,
    embedding,
    gelu,
    layernorm,
    linear,
    projection,
    select,
    sphere,
    uniform,
)
from minigrok.layers.cosine import Cosine
from minigrok.layers.embedding import Embedding
from minigrok.layers.layernorm import Norm
from minigrok.layers.linear import Linear
from minigrok.layers.select import selection
from minigrok.network import block, model
from minigrok.network.block import Attend, Mlp, Rows
from minigrok.network.params import layout

EPS = 1e-5  # of the LayerNorms, PyTorch's default


@dataclass(frozen=True)
class Sizes:
    """B pairs, T tokens, U queries, H heads of width K (so D = H K), F MLP width, V classes, L blocks."""

    B: int = 5
    T: int = 2
    U: int = 2
    H: int = 2
    K: int = 3
    F: int = 7
    V: int = 11
    L: int = 2

    @property
    def D(self) -> int:
        """Model width."""
        return self.H * self.K


def _like(engine: Engine, tree: Tree) -> Tree:
    """Uninitialised arrays of the form of `tree`, for gradients."""
    return tree_map(lambda leaf: engine.empty(*leaf.shape), tree)


def _norm(rng: np.random.Generator, D: int) -> Norm:
    return Norm(1 + 0.1 * rng.standard_normal(D), rng.standard_normal(D))


def _linear(rng: np.random.Generator, out: int, width: int) -> Linear:
    return Linear(rng.standard_normal((out, width)) / np.sqrt(width), rng.standard_normal(out))


def _weighted(name: str, z: Tree, module: Any, *constants: Any, null: Tree | None = None) -> Case:
    """Case of a map with weights: module.forward(engine, w, *constants, x) and so on; z = (w, x)."""

    def pull(engine: Engine, z: Tree, tape: Any, dy: Array) -> tuple[Tree, Any]:
        dw = _like(engine, z[0])
        dx, dtape = module.backward(engine, z[0], *constants, tape, dy, dw)
        return (dw, dx), dtape

    def r_pull(engine: Engine, z: Tree, tape: Any, dtape: Any, Rz: Tree, rtape: Any, Rdy: Array) -> Tree:
        Rdw = _like(engine, z[0])
        Rdx = module.r_backward(engine, z[0], *constants, tape, dtape, Rz[0], rtape, Rdy, Rdw)
        return Rdw, Rdx

    return Case(
        name,
        z,
        lambda engine, z: module.forward(engine, z[0], *constants, z[1]),
        pull,
        lambda engine, z, tape, Rz: module.r_forward(engine, z[0], *constants, tape, *Rz),
        r_pull,
        null,
    )


def _maps(module: Any, forward: Callable[..., Any], prefix: str = "") -> Any:
    """Return the four maps of a module, with a `forward` of its own: an eps may be bound there."""
    others = ("backward", "r_forward", "r_backward")
    return SimpleNamespace(forward=forward, **{name: getattr(module, prefix + name) for name in others})


_LAYERNORM = _maps(layernorm, lambda engine, w, x: layernorm.forward(engine, w, x, EPS))
_ATTEND = _maps(block, block.attend_forward, "attend_")
_MLP = _maps(block, lambda engine, w, x: block.mlp_forward(engine, w, EPS, x), "mlp_")


def _linear_map(name: str, z: Tree, forward: Callable[..., Array], backward: Callable[..., Tree]) -> Case:
    """Case of a map that is linear in z: its R-maps are its forward and backward."""
    return Case(
        name,
        z,
        lambda engine, z: (forward(engine, z), None),
        lambda engine, z, tape, dy: (backward(engine, z, dy), None),
        lambda engine, z, tape, Rz: (forward(engine, Rz), None),
        lambda engine, z, tape, dtape, Rz, rtape, Rdy: backward(engine, z, Rdy),
    )


def embedding_case(rng: np.random.Generator, n: Sizes) -> Case:
    """Table of T positions and V tokens."""
    w = Embedding(rng.standard_normal((n.T, n.D)), rng.standard_normal((n.V, n.D)))

    def backward(engine: Engine, z: Embedding, dy: Array) -> Embedding:
        dw = _like(engine, z)
        embedding.backward(engine, dy, dw)
        return dw  # type: ignore[no-any-return]

    return _linear_map("embedding", w, embedding.forward, backward)


def select_case(rng: np.random.Generator, n: Sizes) -> Case:
    """B rows out of V, repeats and gaps included."""
    rows = selection(rng.integers(0, n.V, n.B), n.V)
    return _linear_map(
        "select",
        rng.standard_normal((n.V, n.D)),
        lambda engine, x: select.forward(engine, rows, x),
        lambda engine, z, dy: select.backward(engine, rows, dy),
    )


def linear_case(rng: np.random.Generator, n: Sizes) -> Case:
    """B rows of width D to width F."""
    return _weighted("linear", (_linear(rng, n.F, n.D), rng.standard_normal((n.B, n.D))), linear)


def projection_case(rng: np.random.Generator, n: Sizes) -> Case:
    """A linear map of B rows out of V: the order depends on whether B < V."""
    rows = selection(rng.integers(0, n.V, n.B), n.V)
    z = (_linear(rng, n.F, n.D), rng.standard_normal((n.V, n.D)))
    return _weighted("projection", z, projection, rows)


def layernorm_case(rng: np.random.Generator, n: Sizes) -> Case:
    """B rows; a constant added to a row changes nothing."""
    w, x = _norm(rng, n.D), rng.standard_normal((n.B, n.D))
    null = (tree_map(np.zeros_like, w), np.repeat(rng.standard_normal((n.B, 1)), n.D, axis=1))
    return _weighted("layernorm", (w, x), _LAYERNORM, null=null if n.D > 1 else None)


def sphere_case(rng: np.random.Generator, n: Sizes) -> Case:
    """B rows; the length of a row changes nothing."""
    x = rng.standard_normal((n.B, n.D))
    return Case(
        "sphere",
        x,
        sphere.forward,
        lambda engine, z, tape, dy: sphere.backward(engine, tape, dy),
        lambda engine, z, tape, Rz: sphere.r_forward(engine, tape, Rz),
        lambda engine, z, tape, dtape, Rz, rtape, Rdy: sphere.r_backward(engine, tape, dtape, rtape, Rdy),
        x * rng.standard_normal((n.B, 1)),
    )


def cosine_case(rng: np.random.Generator, n: Sizes) -> Case:
    """B rows and V classes; the length of a class's vector changes nothing."""
    w, z = Cosine(rng.standard_normal((n.V, n.D))), rng.standard_normal((n.B, n.D))
    return _weighted(
        "cosine", (w, z), cosine, null=(Cosine(w.weight * rng.standard_normal((n.V, 1))), np.zeros_like(z))
    )


def gelu_case(rng: np.random.Generator, n: Sizes) -> Case:
    """B rows of width F."""
    return Case(
        "gelu",
        2 * rng.standard_normal((n.B, n.F)),
        gelu.forward,
        lambda engine, z, tape, dy: gelu.backward(engine, tape, dy),
        lambda engine, z, tape, Rz: gelu.r_forward(engine, tape, Rz),
        lambda engine, z, tape, dtape, Rz, rtape, Rdy: gelu.r_backward(engine, tape, dtape, rtape, Rdy),
    )


def attention_case(rng: np.random.Generator, n: Sizes) -> Case:
    """B pairs; one vector added to all keys of a head changes nothing."""
    q, kv = rng.standard_normal((n.B, n.U, n.H, n.K)), rng.standard_normal((n.B, n.T, 2, n.H, n.K))
    shift = np.zeros_like(kv)
    shift[:, :, 0] = rng.standard_normal((n.B, 1, n.H, n.K))
    return Case(
        "attention",
        (q, kv),
        lambda engine, z: attention.forward(engine, *z),
        lambda engine, z, tape, dy: attention.backward(engine, tape, dy),
        lambda engine, z, tape, Rz: attention.r_forward(engine, tape, *Rz),
        lambda engine, z, tape, dtape, Rz, rtape, Rdy: attention.r_backward(engine, tape, dtape, rtape, Rdy),
        (np.zeros_like(q), shift) if n.T > 1 else None,
    )


def uniform_case(rng: np.random.Generator, n: Sizes) -> Case:
    """B pairs; queries and keys change nothing."""
    q, kv = rng.standard_normal((n.B, n.U, n.H, n.K)), rng.standard_normal((n.B, n.T, 2, n.H, n.K))
    keys = np.zeros_like(kv)
    keys[:, :, 0] = rng.standard_normal((n.B, n.T, n.H, n.K))
    return Case(
        "uniform",
        (q, kv),
        lambda engine, z: uniform.forward(engine, *z),
        lambda engine, z, tape, dy: uniform.backward(engine, tape, dy),
        lambda engine, z, tape, Rz: uniform.r_forward(engine, tape, *Rz),
        lambda engine, z, tape, dtape, Rz, rtape, Rdy: uniform.r_backward(engine, tape, dtape, rtape, Rdy),
        (rng.standard_normal(q.shape), keys),
    )


def cross_entropy_case(rng: np.random.Generator, n: Sizes) -> Case:
    """Summed loss of B rows, V classes; a constant added to all logits of a row changes nothing."""
    x, target = 2 * rng.standard_normal((n.B, n.V)), rng.integers(0, n.V, n.B)

    def value(engine: Engine, z: Array) -> tuple[Array, cross_entropy.Tape]:
        loss, tape = cross_entropy.forward(engine, z, target)
        return loss.sum(keepdims=True), tape

    def r_pull(engine: Engine, z: Array, tape: Any, dy: Array, Rz: Array, rtape: Any, Rdy: Array) -> Array:
        curved = cross_entropy.r_backward(engine, tape, float(dy[0]), Rz)
        return curved + cross_entropy.backward(engine, tape, float(Rdy[0]))

    return Case(
        "cross_entropy",
        x,
        value,
        lambda engine, z, tape, dy: (cross_entropy.backward(engine, tape, float(dy[0])), dy),
        lambda engine, z, tape, Rz: (cross_entropy.r_forward(engine, tape, Rz).sum(keepdims=True), None),
        r_pull,
        np.repeat(rng.standard_normal((n.B, 1)), n.V, axis=1) if n.V > 1 else None,
    )


def attend_case(rng: np.random.Generator, n: Sizes) -> Case:
    """Attention half of a block: V distinct rows, B pairs, U queries a pair; the key bias changes nothing."""
    w = Attend(_norm(rng, n.D), _linear(rng, n.D, n.D), _linear(rng, 2 * n.D, n.D), _linear(rng, n.D, n.D))
    keys = selection(rng.integers(0, n.V, n.B * n.T), n.V)
    queries = selection(rng.integers(0, n.V, n.B * n.U), n.V)
    x = rng.standard_normal((n.V, n.D))
    null = tree_map(np.zeros_like, (w, x))
    null[0].keyvalue.bias[: n.D] = rng.standard_normal(n.D)
    rows = Rows(n.B, n.H, keys, queries, EPS)
    return _weighted("block: attend", (w, x), _ATTEND, rows, null=null if n.T > 1 and n.D > 1 else None)


def mlp_case(rng: np.random.Generator, n: Sizes) -> Case:
    """MLP half of a block."""
    w = Mlp(_norm(rng, n.D), _linear(rng, n.F, n.D), _linear(rng, n.D, n.F))
    return _weighted("block: mlp", (w, rng.standard_normal((n.B, n.D))), _MLP)


def model_case(rng: np.random.Generator, n: Sizes, **variant: Any) -> Case:
    """The network with two tasks on B pairs; V must be prime. The key biases change nothing."""
    config = Config("case", task=Task(p=n.V, exclude_zero=False), model=Model(n.D, n.H, n.F, n.L, **variant))
    parts = layout(config)
    theta = 0.5 * rng.standard_normal(parts.size)
    plan = model.plan(config, rng.integers(0, n.V, (n.B, 2)))

    def weights(flat: Array) -> model.Weights:
        return model.weights(parts.views(flat), config)

    def pull(engine: Engine, z: Array, tape: Any, dy: list[Array]) -> tuple[Array, Any]:
        dz = np.full_like(z, np.nan)
        return dz, model.backward(engine, weights(z), plan, tape, dy, weights(dz))

    def r_pull(engine: Engine, z: Array, tape: Any, dtape: Any, Rz: Array, rtape: Any, Rdy: Any) -> Array:
        Rdz = np.full_like(z, np.nan)
        model.r_backward(engine, weights(z), plan, tape, dtape, weights(Rz), rtape, Rdy, weights(Rdz))
        return Rdz

    null = np.zeros_like(theta)
    for layer in range(n.L):
        bias = parts.views(null)[f"encoder.layers.{layer}.self_attn.in_proj_bias"]
        bias[n.D : 2 * n.D] = rng.standard_normal(n.D)
    return Case(
        "model",
        theta,
        lambda engine, z: model.forward(engine, weights(z), plan),
        pull,
        lambda engine, z, tape, Rz: model.r_forward(engine, weights(z), plan, tape, weights(Rz)),
        r_pull,
        null if n.D > 1 else None,
    )


CASES: dict[str, Callable[[np.random.Generator, Sizes], Case]] = {
    "embedding": embedding_case,
    "select": select_case,
    "linear": linear_case,
    "projection": projection_case,
    "layernorm": layernorm_case,
    "sphere": sphere_case,
    "gelu": gelu_case,
    "attention": attention_case,
    "uniform": uniform_case,
    "cosine": cosine_case,
    "cross_entropy": cross_entropy_case,
    "block: attend": attend_case,
    "block: mlp": mlp_case,
    "model": model_case,
    "model: uniform": lambda rng, n: model_case(rng, n, attention="uniform"),
    "model: sphere": lambda rng, n: model_case(rng, n, norm="sphere"),
}
