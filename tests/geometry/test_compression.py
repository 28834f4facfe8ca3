"""Laws of the operations on a change of parameters, and effective ranks of matrices whose rank is known."""

import numpy as np
import pytest

from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError
from minigrok.geometry import compression
from minigrok.network.params import layout

SIZES = ["task.p=7", "model.width=16", "model.heads=2", "model.mlp_width=24", "model.blocks=2"]
CONFIG = with_settings(preset("tiny"), SIZES)
LAYOUT = layout(CONFIG)
MATRICES = compression.matrices(LAYOUT)


@pytest.fixture
def delta():
    return np.random.default_rng(0).standard_normal(LAYOUT.size)


def test_matrices_are_the_two_dimensional_arrays_that_are_large_enough():
    assert "encoder.layers.0.self_attn.in_proj_weight" in MATRICES
    assert "pos_emb" not in MATRICES  # 2 x 16 = 32 entries
    assert all(len(LAYOUT.shapes[name]) == 2 for name in MATRICES)
    assert compression.matrices(LAYOUT, "self_attn") == [name for name in MATRICES if "self_attn" in name]


def found(delta):
    return compression.factors(delta, LAYOUT, MATRICES)


@pytest.mark.parametrize("cut", ["truncated", "random_truncated"])
def test_full_rank_is_the_identity_and_rank_0_leaves_the_vectors(delta, cut):
    function = getattr(compression, cut)
    given = [MATRICES, np.random.default_rng(1)] if cut == "random_truncated" else [found(delta)]
    assert function(delta, LAYOUT, 48, *given) == pytest.approx(delta, abs=1e-12)
    nothing = LAYOUT.views(function(delta, LAYOUT, 0, *given))
    for name, array in LAYOUT.views(delta).items():
        assert np.array_equal(nothing[name], np.zeros_like(array) if name in MATRICES else array)


def test_truncation_has_the_rank_and_no_other_of_that_rank_is_nearer(delta):
    best = compression.truncated(delta, LAYOUT, 3, found(delta))
    random = compression.random_truncated(delta, LAYOUT, 3, MATRICES, np.random.default_rng(1))
    for name in MATRICES:
        W, near, far = (LAYOUT.views(each)[name] for each in (delta, best, random))
        assert np.linalg.matrix_rank(near) == np.linalg.matrix_rank(far) == 3
        lost = np.linalg.svd(W, compute_uv=False)[3:]
        assert np.linalg.norm(W - near) == pytest.approx(np.linalg.norm(lost))
        assert np.linalg.norm(W - far) > np.linalg.norm(W - near)


def test_pruning_keeps_the_largest(delta):
    assert np.array_equal(compression.pruned(delta, 1.0), delta)
    assert not compression.pruned(delta, 0.0).any()
    half = compression.pruned(delta, 0.5)
    assert np.count_nonzero(half) == round(0.5 * len(delta))
    assert np.abs(delta[half != 0]).min() >= np.abs(delta[half == 0]).max()


def test_modules_are_disjoint_and_all_of_the_network(delta):
    masks = compression.modules(LAYOUT)
    assert list(masks) == [*(f"layer {i}" for i in range(CONFIG.model.blocks)), "heads", "other"]
    assert np.sum(list(masks.values()), axis=0).tolist() == [1] * LAYOUT.size
    assert sum(compression.kept(delta, mask) for mask in masks.values()) == pytest.approx(delta)
    for mask in masks.values():
        assert np.array_equal(compression.kept(delta, mask) + compression.kept(delta, ~mask), delta)


def test_finer_modules_are_parts_of_the_papers():
    masks, blocks = compression.finer_modules(LAYOUT), range(CONFIG.model.blocks)
    wholes = {"other": ["tokens", "positions", "last norm"], "heads": ["head add", "head mul"]}
    wholes |= {f"layer {i}": [f"layer {i} {part}" for part in ("attention", "MLP", "norms")] for i in blocks}
    wholes["Q and K"] = [f"layer {i} Q and K" for i in blocks]
    for whole, parts in wholes.items():
        assert np.array_equal(np.sum([masks[part] for part in parts], axis=0), masks[whole])
    for name, mask in compression.modules(LAYOUT).items():
        assert np.array_equal(masks[name], mask)


def test_queries_and_keys_are_two_thirds_of_the_fused_rows():
    theta = np.where(compression.finer_modules(LAYOUT)["layer 0 Q and K"], 0.0, 1.0)
    for name, array in LAYOUT.views(theta).items():
        gone = 2 * CONFIG.model.width if name.startswith("encoder.layers.0.self_attn.in_proj") else 0
        assert not array[:gone].any()
        assert array[gone:].all()


def test_noise_has_the_norm_of_the_error_in_every_array(delta):
    error = compression.kept(delta, compression.modules(LAYOUT)["heads"])
    noise = compression.noise_like(error, LAYOUT, np.random.default_rng(2))
    for name, array in LAYOUT.views(noise).items():
        assert np.linalg.norm(array) == pytest.approx(np.linalg.norm(LAYOUT.views(error)[name]))
    assert abs(noise @ error) < 0.2 * (error @ error)  # another direction


def test_noise_inside_leaves_the_values_alone(delta):
    mask = compression.finer_modules(LAYOUT)["layer 1 Q and K"]
    error = compression.kept(delta, mask)
    inside, anywhere = (compression.noise_like(error, LAYOUT, np.random.default_rng(2), each) for each in (True, False))
    assert np.array_equal(inside != 0, mask)
    assert (anywhere[~mask] != 0).any()  # the fused array holds the values too
    for noise in (inside, anywhere):
        assert np.linalg.norm(noise) == pytest.approx(np.linalg.norm(error))


@pytest.mark.parametrize("n", [1, 4, 9])
def test_effective_ranks_of_an_identity_and_of_an_outer_product(n):
    assert compression.effective_rank(3.0 * np.eye(n)) == pytest.approx((n, n, n, np.ceil(0.9 * n)))
    u, v = np.random.default_rng(n).standard_normal((2, n))
    assert compression.effective_rank(np.outer(u, v)) == pytest.approx((1, 1, 1, 1))


def test_effective_ranks_of_known_singular_values_at_any_scale():
    W = np.diag([3.0, 1.0, 0.0])
    p = np.array([0.75, 0.25])
    known = (np.exp(-p @ np.log(p)), 100 / 82, 10 / 9, 1)
    assert compression.effective_rank(W) == pytest.approx(known)
    assert compression.effective_rank(1e-6 * W) == pytest.approx(known)
    assert np.isnan(compression.effective_rank(0 * W)).all()


@pytest.mark.parametrize(
    "broken",
    [
        lambda d: compression.truncated(d, LAYOUT, -1, found(d)),
        lambda d: compression.random_truncated(d, LAYOUT, -1, MATRICES, np.random.default_rng(0)),
        lambda d: compression.pruned(d, 1.01),
        lambda d: compression.pruned(d, -0.01),
    ],
)
def test_what_cannot_be_is_refused(delta, broken):
    with pytest.raises(ConfigError):
        broken(delta)
