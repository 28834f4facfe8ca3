"""Laws of rebuilding in a subspace, k* of synthetic curves, and the law of bridges."""

import numpy as np
import pytest

from minigrok.geometry import reconstruction

K = np.arange(1, 7)


def test_all_components_rebuild_the_final_row_exactly():
    X = np.random.default_rng(0).standard_normal((6, 50))
    origin = np.random.default_rng(1).standard_normal(50)
    V, shares = reconstruction.directions(X, 6, False)
    built = reconstruction.rebuilt(V, origin, origin + X[-1])
    assert built.theta(6) == pytest.approx(origin + X[-1], abs=1e-12)
    assert built.outside(6) == pytest.approx(0, abs=1e-12)
    assert built.outside(0) == 1
    assert shares.sum() == pytest.approx(1)
    outside = [built.outside(k) for k in range(7)]
    assert outside == sorted(outside, reverse=True)


def test_a_direction_that_is_missing_stays_outside():
    X = np.eye(5)[:3]
    V, _ = reconstruction.directions(X, 3, False)
    built = reconstruction.rebuilt(V, np.zeros(5), np.array([0.0, 0, 0, 3, 4]))
    assert built.theta(3) == pytest.approx(np.zeros(5), abs=1e-12)
    assert built.outside(3) == pytest.approx(1)
    assert np.isnan(reconstruction.rebuilt(V, np.ones(5), np.ones(5)).outside(1))


def test_centring_loses_the_mean_unless_it_is_the_origin():
    rng = np.random.default_rng(2)
    X = 10 + rng.standard_normal((4, 30))
    V, _ = reconstruction.directions(X, 4, True)
    assert V.shape[1] == 3
    mean = X.mean(axis=0)
    assert reconstruction.rebuilt(V, mean, X[-1]).theta(3) == pytest.approx(X[-1], abs=1e-10)
    assert reconstruction.rebuilt(V, np.zeros(30), X[-1]).outside(3) > 0.5


@pytest.mark.parametrize(
    ("accuracy", "first", "lasting"),
    [
        ([0.1, 0.2, 0.91, 0.95, 0.99, 1.0], 3, 3),
        ([0.1, 0.2, 0.91, 0.5, 0.7, 0.95], 3, 6),  # the paper's tri run: passes at 3, fails at 4 and 5
        ([0.95, 0.2, 0.9, 0.9, 0.9, 0.5], 1, None),
        ([0.9] * 6, 1, 1),
        ([0.89] * 6, None, None),
    ],
)
def test_crossings(accuracy, first, lasting):
    passes = np.array(accuracy) >= reconstruction.MARK
    assert reconstruction.first_crossing(K, passes) == first
    assert reconstruction.lasting_crossing(K, passes) == lasting


def test_no_k_at_all():
    none = np.zeros(0, bool)
    assert reconstruction.first_crossing(K[:0], none) is None
    assert reconstruction.lasting_crossing(K[:0], none) is None


def test_moves():
    thetas = np.array([[2.0, 0], [1, 0], [1, 3]], np.float32)
    assert reconstruction.moves(thetas, np.array([0.5, 1.0])) == pytest.approx([0, 3])


@pytest.mark.parametrize("c", [1.0, 0.7])
def test_a_bridge_starts_and_ends_where_it_should(c):
    start, end = np.random.default_rng(3).standard_normal((2, 40))
    path = reconstruction.bridge(start, end, np.full(5, c), np.arange(1.0, 6), np.random.default_rng(4))
    assert path.shape == (6, 40)
    assert path[0] == pytest.approx(start)
    assert path[-1] == pytest.approx(end)
    assert np.abs(path[3] - start).max() > 0.1


@pytest.mark.parametrize("c", [1.0, 0.9])
def test_a_bridge_of_no_random_move_is_the_decay_alone(c):
    start = np.arange(1.0, 5)
    path = reconstruction.bridge(start, c**3 * start, np.full(3, c), np.zeros(3), np.random.default_rng(6))
    assert path == pytest.approx(c ** np.arange(4)[:, None] * start)


@pytest.mark.parametrize("c", [1.0, 0.8])
def test_moments_of_a_bridge_are_those_of_the_conditional_law(c):
    """Mean and variance from the joint Gaussian law of u_1 .. u_T, inverted by brute force."""
    lengths, draws, start, end = np.array([1.0, 2.0, 0.5]), 40_000, 3.0, -1.0
    L = np.array([[c ** (t - s) if s <= t else 0 for s in range(3)] for t in range(3)]) * lengths
    C = L @ L.T  # covariance of u_1, u_2, u_3 in one coordinate
    gain = C[:2, 2] / C[2, 2]
    mean = c ** np.array([1, 2]) * start + gain * (end - c**3 * start)
    variance = np.diag(C[:2, :2] - np.outer(gain, C[2, :2]))
    both = np.full(draws, start), np.full(draws, end)  # one coordinate each, with steps of length sqrt(draws)
    path = reconstruction.bridge(*both, np.full(3, c), lengths * np.sqrt(draws), np.random.default_rng(5))
    assert path[1:3].mean(axis=1) == pytest.approx(mean, abs=5 * np.sqrt(variance.max() / draws))
    assert path[1:3].var(axis=1) == pytest.approx(variance, rel=0.05)
