"""Spectra of queries and keys: known matrices, random ones, and what a change of basis may not change."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from minigrok.config import preset, with_settings
from minigrok.geometry import attention_spectra as spectra
from minigrok.network.params import initial, layout
from minigrok.network.sharded import Sharded

CONFIG = with_settings(preset("tiny"), ["task.p=11", "model.width=16", "model.mlp_width=8", "model.blocks=2"])
LAYOUT, HEADS = layout(CONFIG), CONFIG.model.heads
K = CONFIG.model.head_width


def parameters(seed=0):
    """Parameters with biases that are not zero and layers that differ."""
    return initial(CONFIG).astype(np.float64) + 0.1 * np.random.default_rng(seed).standard_normal(LAYOUT.size)


def changed(theta, head, A):
    """Parameters with q -> A q and k -> A^-T k in one head of layer 1."""
    theta = theta.copy()
    views, D = LAYOUT.views(theta), CONFIG.model.width
    for name in ("in_proj_weight", "in_proj_bias"):
        fused = views[f"encoder.layers.1.self_attn.{name}"]
        for start, map_ in ((0, A), (D, np.linalg.inv(A).T)):
            rows = slice(start + head * K, start + (head + 1) * K)
            fused[rows] = map_ @ fused[rows]
    return theta


def logits(theta):
    net = Sharded(CONFIG, "plain", "float64", 1, 1)
    net.theta[:] = theta
    tokens = np.random.default_rng(0).integers(0, 11, (6, 2))
    net.load(tokens, np.zeros((2, 6), np.int64))
    net.forward()
    return np.array(net.shards[0].logits)


ORTHOGONAL = ortho_group.rvs(K, random_state=np.random.default_rng(1))
GENERAL = ORTHOGONAL @ np.diag(np.linspace(0.5, 2, K))


@pytest.mark.parametrize("A", [ORTHOGONAL, GENERAL], ids=["orthogonal", "general"])
def test_change_of_basis_in_a_head(A):
    """The network and W_Q'W_K stay to rounding; the paper's commutators do not, nor, for a general A, its gaps."""
    theta = parameters()
    other = changed(theta, 2, A)
    assert np.allclose(logits(other), logits(theta), rtol=0, atol=1e-12)
    before, after = (spectra.measure(t, theta, LAYOUT, HEADS) for t in (theta, other))
    names = ("product_values", "c", "block_c", "values", "block_values")
    moved = {name: np.abs(after[name] - before[name]).max() / before[name].max() for name in names}
    assert moved["product_values"] < 1e-14
    assert moved["c"] > 0.005
    assert moved["block_c"] > 0.005
    assert (moved["values"] < 1e-13) == (moved["block_values"] < 1e-13) == (A is ORTHOGONAL)


def test_products_are_those_of_the_full_matrix():
    views = LAYOUT.views(parameters())
    found = spectra.measure(parameters(), parameters(1), LAYOUT, HEADS)
    for layer in range(2):
        Q, Key = spectra.query_key(views, layer)
        for h in range(HEADS):
            rows = slice(h * K, (h + 1) * K)
            full = np.linalg.svd(Q[rows].T @ Key[rows], compute_uv=False)
            assert np.allclose(found["product_values"][layer, h, :K], full[:K], atol=1e-14)
            assert not found["product_values"][layer, h, K:].any()  # rank K


def test_query_and_key_are_rows_of_the_fused_matrix():
    views = LAYOUT.views(parameters())
    fused = views["encoder.layers.1.self_attn.in_proj_weight"]
    Q, Key = spectra.query_key(views, 1)
    assert np.array_equal(np.vstack([Q, Key]), fused[:32])


@pytest.mark.parametrize("d", [16, 64])
def test_random_matrices_have_normalised_commutator_one(d):
    rng = np.random.default_rng(d)
    ratios = []
    for _ in range(20):
        A, B = rng.standard_normal((2, d, d)) * [[[3.0]], [[0.1]]]
        ratios.append(spectra.commutator(A, B) / spectra.commutator_of_random(A, B))
    assert np.mean(ratios) == pytest.approx(1, abs=2 / d)


def test_initial_commutator_of_the_dual_model_is_eight():
    config = preset("dual")
    found = spectra.measure(initial(config), initial(config), layout(config), 4)
    assert found["c"] == pytest.approx(8.0, abs=0.2)  # the paper's plot
    assert found["c"][0] == found["c"][1]  # identical blocks
    assert found["delta"].max() == 0


def test_commuting_matrices():
    A = np.diag([1.0, 2, 3])
    assert spectra.commutator(A, A @ A) == 0


def test_values_of_a_small_matrix_are_padded():
    assert spectra.values(np.diag([3.0, 4.0])).tolist() == [4, 3] + [0] * 8


def test_pair_index():
    assert spectra.pair_index(np.array([[2.0, 2, 1], [2, 1, 1], [3, 2, 1]])).tolist() == [1, 0, 0.5]
    assert np.isnan(spectra.pair_index(np.zeros(3)))


def test_delta_of_one_frequency_is_a_pair():
    """cos and sine of one frequency over the tokens, added to a read-out, give two equal singular values."""
    p, D = CONFIG.task.p, CONFIG.model.width
    theta = parameters()
    angle = 2 * np.pi * 3 * np.arange(p) / p
    u = ortho_group.rvs(D, random_state=np.random.default_rng(2))[:2]
    after = theta.copy()
    LAYOUT.views(after)["heads.add.weight"][:] += np.stack([np.cos(angle), np.sin(angle)], axis=1) @ u
    found = spectra.measure(after, theta, LAYOUT, HEADS)["head_delta"][0]
    assert found[:2] == pytest.approx(np.sqrt(p / 2))
    assert spectra.pair_index(found) == pytest.approx(1)
