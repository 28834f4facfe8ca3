"""Surrogates of motion without structure, in more dimensions than vectors and in fewer."""

import numpy as np
import pytest

from minigrok.geometry.nulls import decay_walk, gaussian_gram_root, random_walk


@pytest.mark.parametrize(("count", "n"), [(5, 400), (5, 5), (5, 3), (5, 1)])
def test_the_gram_matrix_has_the_moments_and_the_rank_of_gaussian_vectors(count: int, n: int) -> None:
    """E G_ij = delta_ij, var G_ii = 2 / n, var G_ij = 1 / n."""
    rng, draws = np.random.default_rng(0), 4000
    G = np.array([L @ L.T for L in (gaussian_gram_root(count, n, rng) for _ in range(draws))])
    off = ~np.eye(count, dtype=bool)
    assert np.abs(G.mean(0) - np.eye(count)).max() < 6 * np.sqrt(2 / n / draws)
    assert np.allclose(np.diagonal(G, axis1=1, axis2=2).var(0), 2 / n, rtol=0.35)
    assert np.allclose(G.var(0)[off], 1 / n, rtol=0.35)
    assert np.linalg.matrix_rank(G[0]) == min(count, n)


@pytest.mark.parametrize("n", [3, 1000])
def test_steps_have_their_lengths(n: int) -> None:
    """On average over draws; a walk of more steps than dimensions is one too."""
    rng, lengths = np.random.default_rng(1), np.linspace(1, 2, 8)
    walks = np.array([random_walk(lengths, n, rng) for _ in range(3000)])
    steps = walks[:, range(1, 9), range(1, 9)] + walks[:, range(8), range(8)] - 2 * walks[:, range(1, 9), range(8)]
    assert np.allclose(steps.mean(0), lengths**2, rtol=0.1)
    still = decay_walk(2.0, np.full(8, 0.9), np.zeros(8), n, rng)
    assert np.isclose(still[8, 8], (2 * (1 - 0.9**8)) ** 2)
