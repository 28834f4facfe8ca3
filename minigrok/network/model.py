"""The network as a straight list of calls, four times.

    table -> [selected rows] -> blocks (attend, mlp) -> norm -> one linear head a task

Exact savings are choices of rows, never changes of a formula (layers/select.py):
- the first block's norm, queries, keys and values run on the T p distinct (position, token) rows, then are selected;
- the last block makes queries for position 0 alone, since the heads read nothing else; so everything after its
  attention has B rows instead of B T.
`plan(..., savings=False)` takes neither; a test compares the two.

Source: arXiv:2602.18523, code aa4e72f: embedding + learned positions, pre-norm encoder, final LayerNorm, linear heads.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minigrok.config import Config
from minigrok.engine.base import Array, Engine
from minigrok.layers import attention, cosine, embedding, linear, select, uniform
from minigrok.layers.cosine import Cosine
from minigrok.layers.embedding import Embedding
from minigrok.layers.layernorm import Norm
from minigrok.layers.linear import Linear
from minigrok.layers.select import Selection, selection
from minigrok.layers.sums import add
from minigrok.network import block, norms, sphere_block
from minigrok.network.block import Attend, AttendTape, Mlp, MlpTape, Rows

ATTENTION = {"softmax": attention, "uniform": uniform}  # model.attention -> its layer
HALVES = {"layernorm": block, "sphere": sphere_block}  # model.norm -> the halves of its block
HEADS = {"layernorm": linear, "sphere": cosine}  # model.norm -> the layer of its heads


class Weights(NamedTuple):
    """All weights as views of one flat vector (or of the gradient, or of a direction)."""

    embedding: Embedding
    blocks: tuple[tuple[Attend, Mlp], ...]
    norm: Norm | None  # None: the unit sphere
    heads: tuple[Linear | Cosine, ...]


class Plan(NamedTuple):
    """Which rows each block of the network reads, for B pairs."""

    batch: Selection | None  # rows of the table that enter the first block; None: the table itself
    blocks: tuple[Rows, ...]
    readout: Selection | None  # rows of the last block that the heads read; None: all that it makes
    halves: Any  # of a block: block, or sphere_block
    head: Any  # the layer: layers.linear, or layers.cosine


class Tape(NamedTuple):
    """One tape a part (forward), or its cotangents (backward), or its R-tape (r_forward)."""

    blocks: tuple[tuple[AttendTape, MlpTape], ...]
    norm: Any
    heads: tuple[Array, ...]


def weights(views: dict[str, Array], config: Config) -> Weights:
    """Return the `Weights` of named views (`Layout.views`) of a flat vector."""
    D, is_sphere = config.model.width, config.model.norm == "sphere"

    def norm(name: str) -> Norm | None:
        return None if is_sphere else Norm(views[f"{name}.weight"], views[f"{name}.bias"])

    def head(name: str) -> Linear | Cosine:
        return Cosine(views[f"{name}.weight"]) if is_sphere else lin(name)

    def lin(name: str) -> Linear:
        return Linear(views[f"{name}.weight"], views[f"{name}.bias"])

    def one_block(name: str) -> tuple[Attend, Mlp]:
        W, b = views[f"{name}.self_attn.in_proj_weight"], views[f"{name}.self_attn.in_proj_bias"]
        query, keyvalue = Linear(W[:D], b[:D]), Linear(W[D:], b[D:])
        attend = Attend(norm(f"{name}.norm1"), query, keyvalue, lin(f"{name}.self_attn.out_proj"))
        return attend, Mlp(norm(f"{name}.norm2"), lin(f"{name}.linear1"), lin(f"{name}.linear2"))

    return Weights(
        Embedding(views["pos_emb"], views["tok_emb.weight"]),
        tuple(one_block(f"encoder.layers.{layer}") for layer in range(config.model.blocks)),
        norm("norm"),
        tuple(head(f"heads.{operation}") for operation in config.task.operations),
    )


@cache
def _first_positions(B: int, T: int) -> Selection:
    """Position 0 of each of B pairs, out of B T rows."""
    return selection(np.arange(B) * T, B * T)


def plan(config: Config, tokens: Array, savings: bool = True) -> Plan:
    """Return the rows that each block reads for the pairs `tokens` (B, T)."""
    (B, T), p, L = tokens.shape, config.task.p, config.model.blocks
    rows = selection((tokens + p * np.arange(T)).ravel(), T * p)  # (B T,) of the table's T p rows
    table = savings and T * p <= B * T
    keys: list[Selection | None] = [None] * L
    queries: list[Selection | None] = [None] * L
    if table:
        keys[0] = queries[0] = rows
    if savings:
        queries[-1] = _first_positions(B, T)
    if table and L == 1:
        queries[0] = selection(rows.index[::T], T * p)
    heads, eps, layer = config.model.heads, config.model.norm_eps, ATTENTION[config.model.attention]
    blocks = tuple(Rows(B, heads, k, q, eps, layer) for k, q in zip(keys, queries, strict=True))
    readout, norm = None if savings else _first_positions(B, T), config.model.norm
    return Plan(None if table else rows, blocks, readout, HALVES[norm], HEADS[norm])


def drawn(plan: Plan) -> tuple[Selection, Selection | None]:
    """Return the selections of a plan that depend on which pairs the batch holds.

    The first is by all B T (position, token) rows; the second, if there is one, by those of position 0 alone.
    """
    first = plan.blocks[0]
    if plan.batch is not None:
        return plan.batch, None
    assert first.keys is not None
    return first.keys, None if first.queries is first.keys or len(plan.blocks) > 1 else first.queries


def refill(into: Any, source: Any) -> None:
    """Write the arrays of a plan into those of another one of the same sizes."""
    if isinstance(into, np.ndarray):
        into[...] = source
    elif isinstance(into, tuple) and into is not source:
        for old, new in zip(into, source, strict=True):
            refill(old, new)


def forward(engine: Engine, w: Weights, plan: Plan) -> tuple[list[Array], Tape]:
    """Return the logits (B, V) of each task and the tape."""
    x = select.forward(engine, plan.batch, embedding.forward(engine, w.embedding))
    blocks = []
    for (attend, mlp), rows in zip(w.blocks, plan.blocks, strict=True):
        x, attend_tape = plan.halves.attend_forward(engine, attend, rows, x)
        x, mlp_tape = plan.halves.mlp_forward(engine, mlp, rows.eps, x)
        blocks.append((attend_tape, mlp_tape))
    x = select.forward(engine, plan.readout, x)
    z, norm = norms.forward(engine, w.norm, x, plan.blocks[-1].eps)
    logits, heads = [], []
    for head in w.heads:
        y, head_tape = plan.head.forward(engine, head, z)
        logits.append(y)
        heads.append(head_tape)
    return logits, Tape(tuple(blocks), norm, tuple(heads))


def backward(engine: Engine, w: Weights, plan: Plan, tape: Tape, dlogits: list[Array], dw: Weights | None) -> Tape:
    """Return the cotangents for `r_backward`. Fill `dw`, the gradient's views, unless it is None."""
    # forward: logits_k = head_k(z), so dz is the sum over the heads
    dzs, heads = [], []
    for k, head in enumerate(w.heads):
        dz, head_dtape = plan.head.backward(engine, head, tape.heads[k], dlogits[k], dw and dw.heads[k])
        dzs.append(dz)
        heads.append(head_dtape)
    # forward: z = norm(x), x = select(x, readout)
    dx, norm = norms.backward(engine, w.norm, tape.norm, _sum(engine, dzs), dw and dw.norm)
    dx = select.backward(engine, plan.readout, dx)
    # forward: x = attend(x), x = mlp(x) in each block, so mlp first, from the last block to the first
    blocks = []
    for i in reversed(range(len(w.blocks))):
        (attend, mlp), rows, (attend_tape, mlp_tape) = w.blocks[i], plan.blocks[i], tape.blocks[i]
        dattend, dmlp = dw.blocks[i] if dw else (None, None)
        dx, mlp_dtape = plan.halves.mlp_backward(engine, mlp, mlp_tape, dx, dmlp)
        dx, attend_dtape = plan.halves.attend_backward(engine, attend, rows, attend_tape, dx, dattend)
        blocks.append((attend_dtape, mlp_dtape))
    # forward: x = select(table, batch), table = embedding(w)
    if dw:
        embedding.backward(engine, select.backward(engine, plan.batch, dx), dw.embedding)
    return Tape(tuple(reversed(blocks)), norm, tuple(heads))


def r_forward(engine: Engine, w: Weights, plan: Plan, tape: Tape, Rw: Weights) -> tuple[list[Array], Tape]:
    """Return R{logits} (B, V) of each task along the direction `Rw`, and the R-tape."""
    # forward: x = select(table, batch), table = embedding(w): linear in w, so Rtable = embedding(Rw)
    Rx = select.r_forward(engine, plan.batch, embedding.r_forward(engine, Rw.embedding))
    # forward: x = attend(x), x = mlp(x) in each block
    blocks = []
    for i, ((attend, mlp), rows) in enumerate(zip(w.blocks, plan.blocks, strict=True)):
        (attend_tape, mlp_tape), (Rattend, Rmlp) = tape.blocks[i], Rw.blocks[i]
        Rx, attend_rtape = plan.halves.attend_r_forward(engine, attend, rows, attend_tape, Rattend, Rx)
        Rx, mlp_rtape = plan.halves.mlp_r_forward(engine, mlp, mlp_tape, Rmlp, Rx)
        blocks.append((attend_rtape, mlp_rtape))
    # forward: x = select(x, readout), z = norm(x), logits_k = head_k(z)
    Rx = select.r_forward(engine, plan.readout, Rx)
    Rz, norm = norms.r_forward(engine, w.norm, tape.norm, Rw.norm, Rx)
    Rlogits, heads = [], []
    for k, head in enumerate(w.heads):
        Ry, head_rtape = plan.head.r_forward(engine, head, tape.heads[k], Rw.heads[k], Rz)
        Rlogits.append(Ry)
        heads.append(head_rtape)
    return Rlogits, Tape(tuple(blocks), norm, tuple(heads))


def r_backward(
    engine: Engine,
    w: Weights,
    plan: Plan,
    tape: Tape,
    dtape: Tape,
    Rw: Weights,
    rtape: Tape,
    Rdlogits: list[Array],
    Rdw: Weights,
) -> None:
    """Fill `Rdw`, the views of Hv."""
    # backward: dz is the sum over the heads, so Rdz is the sum of their Rdz
    Rdzs = []
    for k, head in enumerate(w.heads):
        Rdz = plan.head.r_backward(
            engine, head, tape.heads[k], dtape.heads[k], Rw.heads[k], rtape.heads[k], Rdlogits[k], Rdw.heads[k]
        )
        Rdzs.append(Rdz)
    Rdz = _sum(engine, Rdzs)
    Rdx = norms.r_backward(engine, w.norm, tape.norm, dtape.norm, Rw.norm, rtape.norm, Rdz, Rdw.norm)
    Rdx = select.r_backward(engine, plan.readout, Rdx)
    # backward: dx through mlp, then attend, from the last block to the first, each at its tape, cotangents and R-tape
    for i in reversed(range(len(w.blocks))):
        (attend, mlp), (Rattend, Rmlp), (Rdattend, Rdmlp) = w.blocks[i], Rw.blocks[i], Rdw.blocks[i]
        (attend_tape, mlp_tape), (attend_dtape, mlp_dtape) = tape.blocks[i], dtape.blocks[i]
        attend_rtape, mlp_rtape = rtape.blocks[i]
        Rdx = plan.halves.mlp_r_backward(engine, mlp, mlp_tape, mlp_dtape, Rmlp, mlp_rtape, Rdx, Rdmlp)
        Rdx = plan.halves.attend_r_backward(
            engine, attend, plan.blocks[i], attend_tape, attend_dtape, Rattend, attend_rtape, Rdx, Rdattend
        )
    # backward: dtable = select.backward(dx, batch), from which embedding fills dw: linear, so the same of Rdx
    embedding.r_backward(engine, select.r_backward(engine, plan.batch, Rdx), Rdw.embedding)


def _sum(engine: Engine, terms: list[Array]) -> Array:
    """Return the first term after adding the others to it, in their order."""
    for term in terms[1:]:
        engine.rows(add, term.shape[0], term, terms[0])
    return terms[0]
