"""Spectra and commutators of the query and key matrices at one set of parameters.

W_Q, W_K (D, D) map the width to all heads; head h has rows hK .. (h+1)K - 1 of both, q_h = W_Q,h x, k_h = W_K,h x, and
enters the network as x^T W_Q,h^T W_K,h x' alone (and its biases).
    values     singular values s_1 >= s_2 >= ...;  gaps s_1 - s_2, s_2 - s_3
    c          |W_Q W_K - W_K W_Q|_F               the paper's; random matrices have c = sqrt(2 / D) |W_Q|_F |W_K|_F
    normalised c / (sqrt(2 / D) |W_Q|_F |W_K|_F)   1 for random matrices, whatever their norms
    blocks     W[hK : (h+1)K, hK : (h+1)K]         the paper's heads; no circuit: a head reads all D columns
    products   W_Q,h^T W_K,h (D, D), rank K        the network sees q and k of a head through these alone: A q, A^-T k
                                                   give the same, and another c, for general A other values and blocks
    delta      singular values of W_t - W_0;  pair index (s_2 - s_3) / (s_1 - s_3): 1 if the first two are equal, as
               the cosine and sine of one Fourier frequency are
Source: arXiv:2602.18523, weight spectra (values, c, blocks, delta); normalised, products, pair index: minigrok.
"""

import numpy as np

from minigrok.engine import Array
from minigrok.network.params import Layout

TOP = 10  # singular values that are kept: our choice (paper: 5 of the deltas)


def query_key(views: dict[str, Array], layer: int) -> tuple[Array, Array]:
    """Return W_Q and W_K (D, D) of a layer in float64; `views` as of Layout.views."""
    fused = views[f"encoder.layers.{layer}.self_attn.in_proj_weight"].astype(np.float64)
    D = fused.shape[1]
    return fused[:D], fused[D : 2 * D]


def values(W: Array, count: int = TOP) -> Array:
    """Return the first singular values (count,), with zeros where there are no more."""
    found = np.linalg.svd(W, compute_uv=False)[:count]
    return np.pad(found, (0, count - len(found)))


def commutator(A: Array, B: Array) -> float:
    """Return |A B - B A|_F of square matrices."""
    return float(np.linalg.norm(A @ B - B @ A))


def commutator_of_random(A: Array, B: Array) -> float:
    """Return sqrt(2 / d) |A|_F |B|_F, the root mean square of |A B - B A|_F for random (d, d) matrices."""
    return float(np.sqrt(2 / len(A)) * np.linalg.norm(A) * np.linalg.norm(B))


def product_values(A: Array, B: Array, count: int = TOP) -> Array:
    """Return the first singular values of A^T B for A and B (K, D), from two (K, K) triangles instead of (D, D)."""
    (_, R), (_, S) = np.linalg.qr(A.T), np.linalg.qr(B.T)
    return values(R @ S.T, count)


def pair_index(s: Array) -> Array:
    """Return (s_2 - s_3) / (s_1 - s_3) for s (..., 3 or more); nan if the three are equal."""
    with np.errstate(invalid="ignore"):
        return np.asarray((s[..., 1] - s[..., 2]) / (s[..., 0] - s[..., 2]))


def measure(theta: Array, start: Array, layout: Layout, heads: int) -> dict[str, Array]:
    """Measure one snapshot.

    Parameters
    ----------
    theta, start : (P,)
        Parameters, and those that deltas are taken from.
    layout : Layout
    heads : int
        H, heads of a layer; L layers, N tasks.

    Returns
    -------
    dict of name to float64 array
        values (L, 2, TOP) and norms (L, 2) of W_Q, W_K; c, c_random (L,);
        block_values (L, H, 2, TOP), block_norms (L, H, 2), block_c, block_c_random (L, H);
        product_values (L, H, TOP), product_norms (L, H) = |W_Q,h| |W_K,h|;
        delta (L, 4, TOP) of W_Q, W_K, W_V, W_O; head_delta (N, TOP) of the tasks' read-outs
    """
    views, before = layout.views(theta), layout.views(start)
    layers = sum(name.endswith("self_attn.in_proj_weight") for name in layout.names)
    found = [_layer(views, before, layer, heads) for layer in range(layers)]
    whole = {name: np.array([each[name] for each in found]) for name in found[0]}
    readouts = [name for name in layout.names if name.startswith("heads.") and name.endswith(".weight")]
    return whole | {"head_delta": np.array([values(_change(views[name], before[name])) for name in readouts])}


def _layer(views: dict[str, Array], before: dict[str, Array], layer: int, heads: int) -> dict[str, Array]:
    Q, K = query_key(views, layer)
    blocks = [(_block(Q, h, heads), _block(K, h, heads)) for h in range(heads)]
    rows = list(zip(np.split(Q, heads), np.split(K, heads), strict=True))
    fused, out = (f"encoder.layers.{layer}.self_attn.{name}" for name in ("in_proj_weight", "out_proj.weight"))
    deltas = [*np.split(_change(views[fused], before[fused]), 3), _change(views[out], before[out])]
    found = {
        "values": [values(Q), values(K)],
        "norms": [np.linalg.norm(Q), np.linalg.norm(K)],
        "c": commutator(Q, K),
        "c_random": commutator_of_random(Q, K),
        "block_values": [[values(q), values(k)] for q, k in blocks],
        "block_norms": [[np.linalg.norm(q), np.linalg.norm(k)] for q, k in blocks],
        "block_c": [commutator(q, k) for q, k in blocks],
        "block_c_random": [commutator_of_random(q, k) for q, k in blocks],
        "product_values": [product_values(q, k) for q, k in rows],
        "product_norms": [np.linalg.norm(q) * np.linalg.norm(k) for q, k in rows],
        "delta": [values(delta) for delta in deltas],
    }
    return {name: np.array(value, np.float64) for name, value in found.items()}


def _block(W: Array, h: int, heads: int) -> Array:
    K = len(W) // heads
    return W[h * K : (h + 1) * K, h * K : (h + 1) * K]


def _change(now: Array, then: Array) -> Array:
    return np.asarray(now.astype(np.float64) - then)
