"""PCA, bases and shares against plain linear algebra and known laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.errors import NonFiniteError
from minigrok.geometry import nulls, subspace


@given(S=st.integers(2, 12), n=st.integers(12, 40), seed=st.integers(0, 999), is_centred=st.booleans())
def test_gram_pca_is_svd(S, n, seed, is_centred):
    X = np.random.default_rng(seed).standard_normal((S, n))
    G = subspace.gram(X)
    G = subspace.centred(G) if is_centred else G
    spectrum = subspace.pca(G)
    Y = X - X.mean(axis=0) if is_centred else X
    _, s, Vt = np.linalg.svd(Y, full_matrices=False)
    assert np.allclose(spectrum.variances, s**2, atol=1e-10 * s[0] ** 2)
    assert spectrum.shares.sum() == pytest.approx(1)
    assert subspace.pc1_share(G) == pytest.approx(spectrum.shares[0])
    k = min(3, S - 1)
    B = subspace.components(X, spectrum, k, is_centred)
    assert np.allclose(B.T @ B, np.eye(B.shape[1]), atol=1e-12)
    assert np.allclose(np.abs(np.sum(B * Vt[:k].T, axis=0)), 1, atol=1e-6)


def test_a_straight_line_is_one_direction():
    X = np.linspace(0, 3, 50)[:, None] * np.random.default_rng(0).standard_normal(5000)
    for G in (subspace.gram(X), subspace.centred(subspace.gram(X))):
        spectrum = subspace.pca(G)
        assert spectrum.shares[0] == pytest.approx(1, abs=1e-12)
        assert spectrum.participation_ratio == pytest.approx(1, abs=1e-12)
    assert subspace.components(X, spectrum, 5, True).shape == (5000, 1)


def test_nothing_moved():
    spectrum = subspace.pca(np.zeros((4, 4)))
    assert np.isnan(spectrum.shares).all()  # of no variance there is no share
    assert np.isnan(spectrum.participation_ratio)
    assert np.isnan(subspace.pc1_share(np.zeros((4, 4))))


def test_squares_that_are_no_numbers_are_refused():
    for function in (subspace.pca, subspace.pc1_share):
        with pytest.raises(NonFiniteError):
            function(np.array([[np.inf, 0], [0, 1]]))


def test_a_random_walk_has_six_over_pi_squared():
    rng = np.random.default_rng(0)
    pc1 = [subspace.pca(subspace.centred(nulls.random_walk(np.ones(300), 10**6, rng))).shares[0] for _ in range(20)]
    assert np.mean(pc1) == pytest.approx(6 / np.pi**2, abs=0.004)


@pytest.mark.parametrize("surrogate", ["walk", "decay"])
def test_surrogates_are_distributed_like_built_trajectories(surrogate):
    """PC1 share and total variance of Bartlett surrogates against trajectories built in R^n."""
    rng, T, n = np.random.default_rng(1), 8, 60
    lengths, c = np.linspace(1, 2, T), np.full(T, 0.8)

    def built():
        w = rng.standard_normal(n)
        w *= 3 / np.linalg.norm(w)
        X = [w]
        for t in range(T):
            e = lengths[t] * rng.standard_normal(n) / np.sqrt(n)
            X.append((c[t] if surrogate == "decay" else 1.0) * X[-1] + e)
        return subspace.gram(np.array(X) - w)

    def drawn():
        if surrogate == "walk":
            return nulls.random_walk(lengths, n, rng)
        return nulls.decay_walk(3.0, c, lengths, n, rng)

    for statistic in (lambda G: subspace.pca(subspace.centred(G)).shares[0], np.trace):
        a = np.array([[statistic(built()), statistic(drawn())] for _ in range(400)])
        sd = a.std(axis=0)
        assert abs(a[:, 0].mean() - a[:, 1].mean()) < 4 * sd.max() / np.sqrt(200)
        assert 0.8 < sd[0] / sd[1] < 1.25


def test_random_shares_are_those_of_random_bases():
    """Mean K / n, and the quartiles of explicit random bases; block-matched too."""
    rng, n = np.random.default_rng(2), 50
    x = rng.standard_normal(n) * np.r_[np.full(20, 3.0), np.ones(30)]
    places = [(slice(0, 20), 2), (slice(20, 50), 3)]

    def explicit():
        blocks = [(subspace.orthonormal(rng.standard_normal((p.stop - p.start, k))), p) for p, k in places]
        return np.sum((subspace.embed(blocks, n).T @ x) ** 2) / np.sum(x**2)

    a = np.array([explicit() for _ in range(3000)])
    b = subspace.random_shares(x, places, 3000, rng)
    assert np.allclose(np.quantile(a, [0.25, 0.5, 0.75]), np.quantile(b, [0.25, 0.5, 0.75]), rtol=0.05)
    plain = subspace.random_shares(x, [(slice(0, n), 4)], 20000, rng)
    assert plain.mean() == pytest.approx(4 / n, rel=0.02)


def test_sqrt_of_k_over_p():
    shares = subspace.random_shares(np.ones(302914), [(slice(0, 302914), 16)], 2000, np.random.default_rng(3))
    assert np.sqrt(shares.mean()) == pytest.approx(0.00727, abs=0.00005)


def test_share_of_everything():
    assert subspace.random_shares(np.ones(3), [(slice(0, 3), 3)], 2, np.random.default_rng(0)).tolist() == [1, 1]
