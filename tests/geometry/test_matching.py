"""Laws of matching: a network whose units are permuted or turned is the same network, and is matched back exactly."""

import numpy as np
import pytest

from minigrok.analyses.shared.curves import Scorer
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError
from minigrok.geometry import matching
from minigrok.network import model
from minigrok.network.params import layout

H, K, D, F, BLOCKS = 3, 4, 12, 10, 2
SIZES = [f"model.width={D}", f"model.heads={H}", f"model.mlp_width={F}", f"model.blocks={BLOCKS}", "task.p=11"]
CONFIG = with_settings(preset("tiny"), SIZES)
LAYOUT = layout(CONFIG)
STEPS = list(matching._steps(LAYOUT, matching.GROUPS))
COUNTS = {"residual": D, "heads": H, "hidden": F}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def theta(rng):
    return rng.standard_normal(LAYOUT.size)


@pytest.fixture(scope="module")
def logits():
    net = Scorer(CONFIG, "float64").net
    tokens = np.array([[1, 2], [3, 4], [1, 5], [10, 10], [7, 0]])
    plan = net.plan(tokens)

    def of(theta):
        net.theta[:] = theta
        net.engines[0].rewind()
        return np.concatenate(model.forward(net.engines[0], net.w, plan)[0])

    return of


def turned(theta, rng):
    """Turn every head by random orthogonal R and S."""
    found = theta.copy()
    for layer in range(BLOCKS):
        for parts in matching._head_parts(found, LAYOUT, layer, H):
            for part in parts:
                R = np.linalg.qr(rng.standard_normal((K, K)))[0]
                for array in part:
                    array[:] = R @ array
    return found


def shuffled(theta, rng, groups=matching.GROUPS):
    for group, layer in STEPS:
        if group in groups:
            theta = matching.permuted(theta, LAYOUT, group, rng.permutation(COUNTS[group]), layer)
    return theta


@pytest.mark.parametrize(("group", "layer"), STEPS)
def test_a_permuted_network_computes_the_same(theta, logits, rng, group, layer):
    other = matching.permuted(theta, LAYOUT, group, np.roll(np.arange(COUNTS[group]), 1), layer)
    assert not np.array_equal(other, theta)
    assert sorted(other) == sorted(theta)
    assert logits(other) == pytest.approx(logits(theta), rel=1e-10, abs=1e-10)


def test_heads_that_are_turned_compute_the_same(theta, logits, rng):
    other = turned(theta, rng)
    assert np.linalg.norm(other - theta) > 1
    assert logits(other) == pytest.approx(logits(theta), rel=1e-10, abs=1e-10)


def test_what_is_no_symmetry_is_seen(theta, logits):
    """A permutation of one array of a group alone, and of single rows of heads, change the function."""
    broken = theta.copy()
    views = LAYOUT.views(broken)
    views["encoder.layers.0.linear1.weight"][:] = np.roll(views["encoder.layers.0.linear1.weight"], 1, axis=0)
    assert np.abs(logits(broken) - logits(theta)).max() > 0.1
    rows = matching.permuted(theta, LAYOUT, "heads", np.roll(np.arange(D), 1))  # rows as if each were a head
    assert np.abs(logits(rows) - logits(theta)).max() > 0.1


def test_a_permuted_copy_is_matched_to_the_last_bit(theta, rng):
    for _ in range(5):
        other = shuffled(theta, rng)
        assert np.array_equal(matching.matched(theta, other, LAYOUT, H, turns=False), theta)


def test_a_permuted_and_turned_copy_is_matched_to_rounding(theta, rng):
    other = turned(shuffled(theta, rng), rng)
    assert matching.matched(theta, other, LAYOUT, H) == pytest.approx(theta, abs=1e-10)


def test_without_the_residual_a_copy_with_another_residual_is_not_found(theta, rng):
    other = shuffled(theta, rng)
    found = matching.matched(theta, other, LAYOUT, H, ("heads", "hidden"), turns=False)
    assert np.linalg.norm(found - theta) > 1
    same = shuffled(theta, rng, ("heads", "hidden"))
    assert np.array_equal(matching.matched(theta, same, LAYOUT, H, ("heads", "hidden"), turns=False), theta)


@pytest.mark.parametrize("turns", [True, False])
def test_matching_keeps_the_function_and_never_moves_apart(theta, logits, rng, turns):
    other = rng.standard_normal(LAYOUT.size)
    groups = [("hidden",), ("heads", "hidden"), matching.GROUPS]
    found = [matching.matched(theta, other, LAYOUT, H, each, turns) for each in groups]
    reached = [theta @ other, *(theta @ each for each in found)]
    assert reached[0] < min(reached[1:])
    for each in found:
        assert logits(each) == pytest.approx(logits(other), rel=1e-9, abs=1e-9)
        assert np.linalg.norm(each) == pytest.approx(np.linalg.norm(other))


def test_one_assignment_is_the_best_of_all_permutations(theta, rng):
    """Three heads have six orders: the assignment is the best of them."""
    other = rng.standard_normal(LAYOUT.size)
    orders = [np.array(each) for each in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])]
    best = max(theta @ matching.permuted(other, LAYOUT, "heads", order, 1) for order in orders)
    found = matching._matched_heads(theta, other, LAYOUT, H, 1, turns=False)
    assert theta @ found == pytest.approx(best)


def test_unknown_groups_are_refused(theta):
    with pytest.raises(ConfigError, match="residual, heads, hidden"):
        matching.matched(theta, theta, LAYOUT, H, ("neurons",))
