"""Compressing a change of the parameters: what is left of a network when only a part of it is kept.

An operation takes the change delta (P,) of a network from a point of reference, and returns the part that is kept:
    theta' = reference + operation(delta),   delta = theta_final - reference
    reference = theta_init    the paper's: what an operation takes away goes back to its RANDOM initial value
    reference = 0             the network itself: what is taken away is 0
Decoupled weight decay has erased the initial values by the grok step, so theta_final - theta_init is mostly
-theta_init: then scaling it by .95 adds 5 % of a random vector, and its matrices have the full rank of noise.

    truncated(delta, r)      each matrix W -> sum_{i <= r} sigma_i u_i v_i^T; other arrays whole
    random_truncated         each matrix W -> Q Q^T W, Q (shorter side, r) random orthonormal: rank r without a choice
    pruned(delta, q)         the q P entries of largest size, the others 0
    kept(delta, mask)        the entries in mask, the others 0; removed: the complement
    noise_like(error)        Gaussian noise with the norm of an error, array by array: the null of all of these
Effective ranks of singular values sigma (r_max = min(rows, columns)), none of which depends on the scale:
    entropy         exp(-sum p_i ln p_i), p_i = sigma_i / sum sigma         1 .. r_max   (Roy & Vetterli 2007)
    participation   (sum sigma^2)^2 / sum sigma^4                           1 .. r_max
    stable          sum sigma^2 / max sigma^2                               1 .. r_max   (Rudelson & Vershynin 2007)
    energy          smallest r with sum_{i <= r} sigma_i^2 >= 0.9 sum sigma^2
Source: operations on theta_final - theta_init: arXiv:2602.18523, code aa4e72f; on theta itself, and nulls: minigrok.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minigrok.checks import require
from minigrok.engine import Array
from minigrok.geometry.lengths import balanced, norm
from minigrok.network.params import Layout

LEAST = 128  # entries of a matrix that is truncated (paper)
ENERGY = 0.9  # share that the energy rank keeps: our choice
Factors = tuple[Array, Array, Array]  # U, s, V^T


def matrices(layout: Layout, patterns: str = "", least: int = LEAST) -> list[str]:
    """Return the names of the two-dimensional arrays of `least` entries; in_proj_weight counts as one.

    Parameters
    ----------
    layout : Layout
    patterns : str    regular expression that a name must contain
    least : int       entries at least
    """
    shapes = layout.shapes.items()
    return [name for name, s in shapes if len(s) == 2 and np.prod(s) >= least and re.search(patterns, name)]


def modules(layout: Layout) -> dict[str, Array]:
    """Return the paper's modules as masks (P,): each layer, the heads, and the other arrays; they are disjoint."""
    found = {f"layer {i}": layout.group([f"encoder.layers.{i}.*"]) for i in _layers(layout)}
    found["heads"] = layout.group(["heads.*"])
    return found | {"other": ~np.any(list(found.values()), axis=0)}


def finer_modules(layout: Layout) -> dict[str, Array]:
    """Return the paper's modules and their parts as masks (P,): embeddings, attention, MLP, norms, single heads.

    "Q and K" is a part of "attention". Where it is 0 all scores are 0, and every token has the same weight.
    """
    wholes = modules(layout)
    found = {"tokens": layout.group(["tok_emb.*"]), "positions": layout.group(["pos_emb"])}
    for i in _layers(layout):
        prefix = f"encoder.layers.{i}"
        found[f"layer {i}"] = wholes[f"layer {i}"]
        found[f"layer {i} attention"] = layout.group([f"{prefix}.self_attn.*"])
        found[f"layer {i} Q and K"] = _queries_and_keys(layout, f"{prefix}.self_attn.in_proj_")
        found[f"layer {i} MLP"] = layout.group([f"{prefix}.linear*"])
        found[f"layer {i} norms"] = layout.group([f"{prefix}.norm*"])
    found["Q and K"] = np.any([mask for name, mask in found.items() if name.endswith("Q and K")], axis=0)
    found["last norm"] = layout.group(["norm.*"])
    heads = dict.fromkeys(name.split(".")[1] for name in layout.names if name.startswith("heads."))
    found["heads"] = wholes["heads"]
    return found | {f"head {task}": layout.group([f"heads.{task}.*"]) for task in heads} | {"other": wholes["other"]}


def _layers(layout: Layout) -> list[int]:
    names = [re.match(r"encoder\.layers\.(\d+)", name) for name in layout.names]
    return sorted({int(m[1]) for m in names if m})


def _queries_and_keys(layout: Layout, prefix: str) -> Array:
    """Mask (P,) of the first two thirds of the fused rows: queries, keys and their biases."""
    mask = np.zeros(layout.size, np.bool_)
    for name in ("weight", "bias"):
        place = layout.slices[prefix + name]
        mask[place.start : place.start + 2 * (place.stop - place.start) // 3] = True
    return mask


def factors(delta: Array, layout: Layout, names: Sequence[str]) -> dict[str, Factors]:
    """Return the singular value decompositions of the matrices `names` of delta (P,): one for every rank."""
    views = layout.views(delta)
    return {name: np.linalg.svd(views[name], full_matrices=False) for name in names}


def truncated(delta: Array, layout: Layout, rank: int, found: Mapping[str, Factors]) -> Array:
    """Return delta (P,) with the matrices of `factors` cut to their first `rank` singular values; the rest as it is."""
    require(rank >= 0, "rank", "at least 0", rank)
    cut = delta.copy()
    views = layout.views(cut)
    for name, (U, s, Vt) in found.items():
        views[name][:] = (U[:, :rank] * s[:rank]) @ Vt[:rank]
    return cut


def random_truncated(delta: Array, layout: Layout, rank: int, names: Sequence[str], rng: np.random.Generator) -> Array:
    """Return delta (P,) with the matrices `names` projected on `rank` random directions of their shorter side."""
    require(rank >= 0, "rank", "at least 0", rank)
    found = delta.copy()
    views = layout.views(found)
    for name in names:
        W = views[name] if views[name].shape[0] <= views[name].shape[1] else views[name].T
        Q, _ = np.linalg.qr(rng.standard_normal((len(W), min(rank, len(W)))))
        W[:] = Q @ (Q.T @ W)
    return found


def pruned(delta: Array, keep: float) -> Array:
    """Return delta (P,) with only its round(keep P) entries of largest size; 0 <= keep <= 1."""
    require(0 <= keep <= 1, "keep", "a share, 0 .. 1", keep)
    count = round(keep * len(delta))
    found = np.zeros_like(delta)
    if count:
        largest = np.argpartition(np.abs(delta), len(delta) - count)[len(delta) - count :]
        found[largest] = delta[largest]
    return found


def kept(delta: Array, mask: Array) -> Array:
    """Return delta (P,) inside the mask (P,) bool, and 0 elsewhere."""
    return np.where(mask, delta, 0.0)


def noise_like(error: Array, layout: Layout, rng: np.random.Generator, is_inside: bool = False) -> Array:
    """Return Gaussian noise (P,) whose norm is that of `error` (P,) in each named array.

    is_inside: only where the error is not 0, such as in the queries' rows of an array that holds keys and values too.
    """
    found = rng.standard_normal(len(error))
    if is_inside:
        found[error == 0] = 0
    for place in layout.slices.values():
        size = norm(error[place])
        found[place] *= size / norm(found[place]) if size else 0
    return found


class EffectiveRank(NamedTuple):
    """Effective ranks of one matrix; formulas in the module."""

    entropy: float
    participation: float
    stable: float
    energy: float


def effective_rank(W: Array) -> EffectiveRank:
    """Return the effective ranks of a matrix W (rows, columns); all nan for W = 0."""
    s = np.linalg.svd(W, compute_uv=False)
    if not s.any():
        return EffectiveRank(*[float("nan")] * 4)
    s = balanced(s)
    p, squares = s / s.sum(), s**2
    entropy = float(np.exp(-np.sum(p[p > 0] * np.log(p[p > 0]))))
    enough = np.cumsum(squares) >= ENERGY * squares.sum()
    participation = float(squares.sum() ** 2 / np.sum(squares**2))
    return EffectiveRank(entropy, participation, float(squares.sum() / squares[0]), float(1 + np.argmax(enough)))
