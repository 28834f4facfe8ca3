"""Matching the units of two networks: symmetries of the network, and the one that brings b nearest to a.

    residual   permutation of the D coordinates of the residual stream. LayerNorm's mean and variance do not see the
               order, and its gains and shifts move along, so it is a symmetry: embeddings, norms, the columns of
               matrices that read the stream, the rows of those that write to it
    heads      permutation of the H heads of a layer: K rows each of W_Q, W_K, W_V, K columns of W_O
    hidden     permutation of the F hidden units of a layer's MLP
    turns      in a head, orthogonal R and S (K, K): q, k -> R q, R k leaves q^T k; v -> S v, W_O -> W_O S^T
Each step moves b by the best element of one group given the others:
    permutation   max_pi sum_i G[i, pi(i)], G[i, j] = <unit i of a, unit j of b>       (linear assignment)
    with turns    G[i, j] = max_R <q_i, R q_j> + max_S <v_i, S v_j>, sums of singular values (orthogonal Procrustes)
so <a, b> never falls. The steps are repeated until it stays: a local optimum, from no permutation on, in fixed order.
Not matched: shifts between biases (values to outputs, keys), a common shift of the logits, general A, A^-T for q and k.
Source: weight matching: Ainsworth et al. 2023 (arXiv:2209.04836); turns of heads: the same argument, minigrok.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from minigrok.checks import require
from minigrok.engine import Array
from minigrok.network.params import Layout

RESIDUAL, HEADS, HIDDEN = "residual", "heads", "hidden"
GROUPS = (RESIDUAL, HEADS, HIDDEN)
AXES = (  # end of a name -> what its axes count; "": nothing that is permuted
    ("in_proj_weight", (HEADS, RESIDUAL)),
    ("in_proj_bias", (HEADS,)),
    ("out_proj.weight", (RESIDUAL, HEADS)),
    ("linear1.weight", (HIDDEN, RESIDUAL)),
    ("linear1.bias", (HIDDEN,)),
    ("linear2.weight", (RESIDUAL, HIDDEN)),
)
SWEEPS = 100  # at most; some five suffice: our choice
STILL = 1e-12  # relative growth of <a, b> that ends the sweeps: our choice


def axes(name: str) -> tuple[str, ...]:
    """Return what the axes of a named array count."""
    if name.startswith("heads."):
        return ("", RESIDUAL) if name.endswith("weight") else ("",)
    found = [kinds for end, kinds in AXES if name.endswith(end)]
    if found:
        return found[0]
    return ("", RESIDUAL) if name in ("pos_emb", "tok_emb.weight") else (RESIDUAL,)


def permuted(theta: Array, layout: Layout, group: str, order: Array, layer: int = 0) -> Array:
    """Return theta (P,) with the units of a group in another order; the network computes the same.

    Parameters
    ----------
    theta : (P,)
    layout : Layout
    group : str         "residual", or "heads" or "hidden" of a layer
    order : (n,) int    the unit that comes first, second, ...
    layer : int
    """
    found = theta.copy()
    views = layout.views(found)
    for name, axis in _members(layout, group, layer):
        units = _units(views, name, axis, len(order))
        units[:] = units[order]
    return found


def matched(
    a: Array, b: Array, layout: Layout, heads: int, groups: Sequence[str] = GROUPS, turns: bool = True
) -> Array:
    """Return b (P,), its units permuted and its heads turned so that <a, b> is large.

    Parameters
    ----------
    a, b : (P,) float64
    layout : Layout
    heads : int                H
    groups : sequence of str   whose units are permuted
    turns : bool               whether heads are turned, too
    """
    require(set(groups) <= set(GROUPS), "groups", f"from {', '.join(GROUPS)}", groups)
    found, reached = b.copy(), float(a @ b)
    for _ in range(SWEEPS):
        for group, layer in _steps(layout, groups):
            if group == HEADS:
                found = _matched_heads(a, found, layout, heads, layer, turns)
            else:
                G = similarity(a, found, layout, group, layer, _count(layout, group))
                found = permuted(found, layout, group, linear_sum_assignment(G, maximize=True)[1], layer)
        before, reached = reached, float(a @ found)
        if reached - before <= STILL * abs(reached):
            break
    return found


def similarity(a: Array, b: Array, layout: Layout, group: str, layer: int, count: int) -> Array:
    """Return the inner products (count, count) of the units of a with those of b."""
    A, B, G = layout.views(a), layout.views(b), np.zeros((count, count))
    for name, axis in _members(layout, group, layer):
        x, y = (_units(views, name, axis, count).reshape(count, -1) for views in (A, B))
        G += x @ y.T
    return G


def _matched_heads(a: Array, b: Array, layout: Layout, heads: int, layer: int, turns: bool) -> Array:
    """Return b with the heads of a layer in the best order and, with `turns`, turned."""
    if not turns:
        G = similarity(a, b, layout, HEADS, layer, heads)
        return permuted(b, layout, HEADS, linear_sum_assignment(G, maximize=True)[1], layer)
    inner = [[_inner(x, y) for y in _head_parts(b, layout, layer, heads)] for x in _head_parts(a, layout, layer, heads)]
    best = np.array([[sum(np.linalg.svd(M, compute_uv=False).sum() for M in pair) for pair in row] for row in inner])
    order = linear_sum_assignment(best, maximize=True)[1]
    found = permuted(b, layout, HEADS, order, layer)
    for i, parts in enumerate(_head_parts(found, layout, layer, heads)):
        for M, part in zip(inner[i][order[i]], parts, strict=True):
            U, _, Vt = np.linalg.svd(M)
            for array in part:
                array[:] = (U @ Vt) @ array
    return found


def _head_parts(theta: Array, layout: Layout, layer: int, heads: int) -> list[tuple[list[Array], list[Array]]]:
    """Return for each head the arrays (K, ...) that turn with R, and those that turn with S, as views of theta."""
    views, prefix = layout.views(theta), f"encoder.layers.{layer}.self_attn."
    W, b, out = (views[prefix + name] for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight"))
    D = W.shape[1]
    W, b, out = W.reshape(3, heads, -1, D), b.reshape(3, heads, -1, 1), out.T.reshape(heads, -1, D)
    return [([W[0, h], W[1, h], b[0, h], b[1, h]], [W[2, h], b[2, h], out[h]]) for h in range(heads)]


def _inner(a: tuple[list[Array], list[Array]], b: tuple[list[Array], list[Array]]) -> tuple[Array, Array]:
    """Return sum A B^T (K, K) of the parts that turn together: <A, R B> = tr(R^T M), largest for R = U V^T."""
    first, second = (sum(x @ y.T for x, y in zip(p, q, strict=True)) for p, q in zip(a, b, strict=True))
    return np.asarray(first), np.asarray(second)


def _steps(layout: Layout, groups: Sequence[str]) -> Iterator[tuple[str, int]]:
    if RESIDUAL in groups:
        yield RESIDUAL, 0
    for layer in range(sum(name.endswith("linear1.bias") for name in layout.names)):
        yield from ((group, layer) for group in (HEADS, HIDDEN) if group in groups)


def _members(layout: Layout, group: str, layer: int) -> Iterator[tuple[str, int]]:
    """Yield the arrays and the axes of a group."""
    prefix = "" if group == RESIDUAL else f"encoder.layers.{layer}."
    for name in layout.names:
        if name.startswith(prefix):
            yield from ((name, axis) for axis, kind in enumerate(axes(name)) if kind == group)


def _count(layout: Layout, group: str) -> int:
    name = "norm.bias" if group == RESIDUAL else "encoder.layers.0.linear1.bias"
    return layout.shapes[name][0]


def _units(views: dict[str, Array], name: str, axis: int, count: int) -> Array:
    """Return a view (count, ...) of an array by its units; those of queries, keys and values lie in three stacks."""
    front = np.moveaxis(views[name], axis, 0)
    stacks = 3 if "in_proj" in name and axis == 0 else 1
    return np.moveaxis(front.reshape(stacks, count, -1, *front.shape[1:]), 1, 0)
