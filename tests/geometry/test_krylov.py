"""Lanczos and quadrature on matrices whose spectrum is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrok.geometry.krylov import Quadrature, lanczos, ritz


def with_spectrum(values, seed=0):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    return (Q * values) @ Q.T


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6, 1e-9, 1e6])
def test_both_ends_at_every_scale(scale):
    """No hidden epsilon: the relative error is the same at 1e-9 as at 1."""
    values = scale * np.r_[-3.0, -2.5, np.linspace(-0.5, 0.5, 196), 8.0, 10.0]
    t = lanczos(with_spectrum(values).__matmul__, np.random.default_rng(1).standard_normal(200), 60)
    ends = [0, 1, -2, -1]
    found = ritz(t, ends)
    assert found.residuals[ends].max() <= 1e-8 * np.abs(found.values).max()
    assert np.abs(found.values[ends] - values[ends]).max() < 1e-12 * 10 * scale
    A = with_spectrum(values)
    true = np.linalg.norm(A @ found.vectors - found.vectors * found.values[ends], axis=0)
    assert np.all(true <= found.residuals[ends] + 1e-13 * 10 * scale)


def test_a_residual_bounds_the_error_before_convergence():
    values = np.linspace(-1, 1, 300) ** 3
    for steps in (3, 8, 20):
        t = lanczos(with_spectrum(values).__matmul__, np.random.default_rng(2).standard_normal(300), steps)
        found = ritz(t)
        nearest = np.abs(found.values[:, None] - values).min(axis=1)
        assert np.all(nearest <= found.residuals + 1e-13)
        assert found.residuals.max() > 1e-10 * np.abs(found.values).max()


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_repeated_eigenvalues_end_the_process(scale):
    """Three distinct eigenvalues: an invariant subspace after three products, whatever the scale."""
    values = scale * np.repeat([-1.0, 2.0, 5.0], [30, 50, 20])
    t = lanczos(with_spectrum(values).__matmul__, np.random.default_rng(3).standard_normal(100), 40)
    assert t.beta[-1] == 0
    assert len(t.alpha) == 3
    found = ritz(t)
    assert np.allclose(found.values, scale * np.array([-1, 2, 5]), rtol=1e-12)
    assert np.all(found.residuals == 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_bulk_far_below_the_largest_eigenvalue_is_no_breakdown(dtype):
    """Outliers of 1000 over a bulk of 1 in 300,000 dimensions: P eps, 0.036 in float32, would stop at the bulk."""
    d = np.random.default_rng(6).uniform(-1, 1, 300_000).astype(dtype)
    d[:2] = 1000, 900
    t = lanczos(lambda v: d * v, np.random.default_rng(7).standard_normal(d.size).astype(dtype), 25, passes=1)
    assert t.beta.min() > 0
    assert len(t.alpha) == 25
    assert t.beta[5:].max() < 300_000 * np.finfo("float32").eps * 1000  # what the former threshold called rounding


def test_negative_and_repeated_eigenvalues_at_both_ends():
    """One vector sees one copy of a repeated value: the second copy is not found, and no other value is invented."""
    values = np.r_[-4.0, -4.0, -4.0, np.linspace(-1, 1, 94), 6.0, 6.0, 6.0]
    t = lanczos(with_spectrum(values).__matmul__, np.random.default_rng(8).standard_normal(100), 50)
    found = ritz(t)
    assert np.allclose(found.values[[0, -1]], [-4, 6], rtol=1e-12)
    assert found.residuals[[0, -1]].max() <= 1e-10 * 6


def test_the_zero_matrix_and_one_dimension():
    t = lanczos(lambda v: 0 * v, np.ones(5), 4)
    assert t.beta[-1] == 0
    assert ritz(t).values.tolist() == [0.0]
    assert ritz(lanczos(lambda v: -2 * v, np.ones(1), 9)).values.tolist() == [-2.0]


def test_two_passes_keep_the_basis_orthogonal_where_one_does_not():
    values = np.r_[np.linspace(0, 1, 398), 1e4, 1e8]
    start = np.random.default_rng(4).standard_normal(400)
    loss = [
        np.abs(t.basis.T @ t.basis - np.eye(len(t.alpha))).max()
        for t in (lanczos(with_spectrum(values).__matmul__, start, 50, passes) for passes in (0, 1, 2))
    ]
    assert loss[2] < 1e-13
    assert loss[0] > 1e-3 > loss[1] >= loss[2]


@settings(max_examples=20)
@given(n=st.integers(1, 40), seed=st.integers(0, 999))
def test_full_lanczos_is_the_whole_spectrum(n, seed):
    values = np.random.default_rng(seed).standard_normal(n)
    t = lanczos(with_spectrum(values, seed).__matmul__, np.random.default_rng(seed + 1).standard_normal(n), n)
    assert np.allclose(ritz(t).values, np.sort(values), atol=1e-9)


def test_quadrature_mass_trace_and_density():
    values = np.r_[np.full(150, -1.0), np.full(300, 0.0), np.full(50, 4.0)]
    A, rng = with_spectrum(values), np.random.default_rng(5)
    found = [ritz(lanczos(A.__matmul__, rng.standard_normal(500), 30)) for _ in range(10)]
    q = Quadrature(np.array([each.values for each in found]), np.array([each.weights for each in found]), 500)
    assert np.allclose(q.weights.sum(axis=1), 1, atol=1e-12)
    assert np.all(q.weights >= 0)
    trace, error = q.moment(lambda x: x)
    assert abs(trace - 50) < 4 * error
    squares, error = q.moment(np.square)
    assert abs(squares - 950) < 4 * error
    grid = np.linspace(-3, 6, 2001)
    density = q.density(grid, 0.1)
    assert np.sum(density) * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-6)
    mass = np.sum(density[(grid > 3) & (grid < 5)]) * (grid[1] - grid[0])
    assert mass == pytest.approx(0.1, abs=0.03)


def test_one_probe_has_no_standard_error():
    q = Quadrature(np.zeros((1, 1)), np.ones((1, 1)), 3)
    assert np.isnan(q.moment(np.ones_like)[1])


def test_a_checker_that_trusts_an_epsilon_is_wrong_here():
    """The classical mistake (v / (|v| + 1e-6)) fails the first test of this file at 1e-6 and below."""
    values = 1e-9 * np.r_[-3.0, np.linspace(-0.5, 0.5, 98), 10.0]
    A, q, Q, alpha, beta = with_spectrum(values), np.ones(100) / 10, [], [], []
    for _ in range(20):
        Q.append(q)
        r = A @ q
        alpha.append(q @ r)
        r = r - np.array(Q).T @ (np.array(Q) @ r)
        beta.append(np.linalg.norm(r))
        q = r / (beta[-1] + 1e-6)
    from scipy.linalg import eigh_tridiagonal

    assert abs(eigh_tridiagonal(np.array(alpha), np.array(beta[:-1]))[0][-1] / 1e-8 - 1) > 0.5
