"""Bases against plain linear algebra, chance against explicit random bases."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from minigrok.geometry import subspace
from minigrok.geometry.bases import Basis, Trajectory, against_chance, angles, random_angles

MATRICES = {"a": slice(3, 23), "b": slice(23, 53)}
P = 60


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def trajectory(rng):
    X = np.cumsum(rng.standard_normal((9, P)), axis=0)
    return Trajectory(X - X[0], MATRICES)


def dense(basis):
    return subspace.embed(basis.blocks, basis.size)


def random_basis(rng, places, size=P):
    return Basis([(subspace.orthonormal(rng.standard_normal((p.stop - p.start, k))), p) for p, k in places], size)


@pytest.mark.parametrize("rows", [None, 5])
def test_components_are_those_of_the_svd(trajectory, rows):
    X = trajectory.X[:rows]
    B = dense(trajectory.attention(2, rows))
    assert B.shape == (P, 4)
    for i, p in enumerate(MATRICES.values()):
        V = np.linalg.svd(X[:, p] - X[:, p].mean(axis=0), full_matrices=False)[2][:2].T
        assert np.allclose(np.abs(np.sum(B[p, 2 * i : 2 * i + 2] * V, axis=0)), 1)
    V = np.linalg.svd(X, full_matrices=False)[2][:3].T
    assert np.allclose(np.abs(np.sum(dense(trajectory.full(3, rows)) * V, axis=0)), 1)


def test_bases_from_the_past_do_not_know_the_future(trajectory):
    before = dense(trajectory.attention(2, 4)), dense(trajectory.full(3, 4))
    changed = trajectory.X.copy()
    changed[4:] = 1e3
    other = Trajectory(changed, MATRICES)
    assert np.allclose(before[0], dense(other.attention(2, 4)), atol=1e-12)
    assert np.allclose(before[1], dense(other.full(3, 4)), atol=1e-12)


def test_fewer_directions_than_asked_for(trajectory):
    assert [trajectory.attention(2, rows).rank for rows in (1, 2, 3)] == [0, 2, 4]
    assert [trajectory.full(3, rows).rank for rows in (1, 2, 3)] == [0, 1, 2]
    empty = trajectory.attention(2, 1)
    assert np.isnan(empty.share(np.ones(P)))
    assert all(np.isnan(against_chance(empty, np.ones(P), 10, np.random.default_rng(0))))
    assert np.isnan(angles(empty, trajectory.attention(2)).overlap)


def test_share_is_that_of_the_dense_basis(trajectory, rng):
    x, basis = rng.standard_normal(P), trajectory.attention(2)
    assert basis.share(x) == pytest.approx(np.sum((dense(basis).T @ x) ** 2) / np.sum(x**2))
    assert np.isnan(basis.share(np.zeros(P)))


def test_chance_is_what_random_bases_of_the_same_blocks_hold(rng):
    x = rng.standard_normal(P) * np.r_[np.full(23, 4.0), np.ones(37)]
    places = [(MATRICES["a"], 2), (MATRICES["b"], 3)]
    shares = [random_basis(rng, places).share(x) for _ in range(2000)]
    chance = against_chance(random_basis(rng, places), x, 4000, rng)
    assert chance.anywhere == 5 / P
    assert chance.blocks == pytest.approx(np.mean(shares), abs=4 * np.std(shares) / np.sqrt(2000))
    assert [chance.low, chance.high] == pytest.approx(np.quantile(shares, [0.025, 0.975]).tolist(), rel=0.2)


def test_norm_share_of_a_random_vector_is_sqrt_k_over_p(rng):
    """sqrt(16 / 302914) = 0.00727, and rho = 0.99997, for no reason but the dimension."""
    size, n = 302_914, 16_384
    places = [(slice(n * i, n * (i + 1)), 2) for i in range(8)]
    basis = random_basis(rng, places, size)
    shares = np.array([basis.share(rng.standard_normal(size)) for _ in range(40)])
    assert np.sqrt(shares.mean()) == pytest.approx(0.00727, rel=0.12)
    assert np.sqrt(1 - shares).min() > 0.9999


def test_angles_are_those_of_scipy(trajectory, rng):
    pairs = [(trajectory.attention(2), trajectory.attention(2, 5)), (trajectory.attention(2), trajectory.full(3))]
    for A, B in pairs:
        found, known = angles(A, B), np.degrees(np.sort(subspace_angles(dense(A), dense(B))))
        assert [found.smallest, found.largest] == pytest.approx([known[0], known[-1]], abs=1e-5)
        assert found.overlap == pytest.approx(np.mean(np.cos(np.radians(known)) ** 2))
    assert angles(A, A).overlap == pytest.approx(1)


def test_random_angles_are_those_of_random_bases(rng):
    places = [(MATRICES["a"], 2), (MATRICES["b"], 3)]
    A = random_basis(rng, places)
    built = np.array([angles(A, random_basis(rng, places)) for _ in range(300)])
    drawn = np.array([random_angles(A, A, rng) for _ in range(300)])
    sd = built.std(axis=0)
    assert np.all(np.abs(built.mean(axis=0) - drawn.mean(axis=0)) < 4 * sd / np.sqrt(150))
    assert np.all(np.abs(sd / drawn.std(axis=0) - 1) < 0.2)
