"""Lengths and all that divides by them, over the whole range of float32 and float64: no scale has another answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.geometry import bases, brackets, lengths, nulls, reconstruction, subspace, updates
from minigrok.geometry.compression import effective_rank
from minigrok.geometry.krylov import lanczos, ritz

FLOATS = {"float32": st.integers(-30, 30), "float64": st.integers(-300, 300)}  # powers of ten
EPS = {"float32": 1e-5, "float64": 1e-13}
either = pytest.mark.parametrize("dtype", FLOATS)


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@either
@given(data=st.data(), n=st.integers(1, 40))
def test_norm_direction_and_cosine_do_not_depend_on_the_scale(dtype, data, n):
    c, d = (10.0 ** data.draw(FLOATS[dtype]) for _ in range(2))
    x, y = draw(0, n), draw(1, n)
    one, other = (c * x).astype(dtype), (d * y).astype(dtype)
    assert lengths.norm(one) == pytest.approx(c * np.linalg.norm(x), rel=EPS[dtype])
    np.testing.assert_allclose(lengths.unit(one), x / np.linalg.norm(x), rtol=EPS[dtype])
    assert lengths.unit(one).dtype == dtype
    expected = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    assert lengths.cosine(one, other) == pytest.approx(expected, abs=EPS[dtype])


@either
def test_ordinary_norms_keep_their_bits(dtype):
    for shape in ((1,), (5,), (100_000,), (30, 40)):
        x = draw(0, *shape).astype(dtype)
        assert lengths.norm(x) == np.linalg.norm(x)
        assert lengths.norm(x.T) == np.linalg.norm(x.T)


@either
def test_zero_and_what_is_not_finite(dtype):
    zero = np.zeros(3, dtype)
    assert lengths.norm(zero) == 0
    assert lengths.unit(zero).tolist() == [0, 0, 0]
    assert np.isnan(lengths.cosine(zero, np.ones(3, dtype)))
    assert lengths.norm(np.array([1, np.inf], dtype)) == np.inf
    assert np.isnan(lengths.norm(np.array([1, np.nan], dtype)))
    assert lengths.norm(np.empty(0, dtype)) == 0
    smallest = np.full(2, np.finfo(dtype).smallest_subnormal)
    assert lengths.norm(smallest) == pytest.approx(float(smallest[0]) * np.sqrt(2), rel=0.5)


@given(exponent=st.integers(-250, 250))
def test_ratios_of_balanced_numbers_keep_their_bits(exponent):
    x = np.abs(draw(0, 9))
    assert np.array_equal(lengths.balanced(np.ldexp(x, exponent)), lengths.balanced(x))
    assert lengths.balanced(np.zeros(2)).tolist() == [0, 0]


@either
@given(data=st.data())
def test_lanczos_does_not_depend_on_the_scale(dtype, data):
    c = 10.0 ** data.draw(FLOATS[dtype])
    values = np.arange(1.0, 5.0)
    d = (c * values).astype(dtype)
    t = lanczos(lambda v: d * v.astype(dtype), np.ones(4, dtype), 9)
    found = ritz(t)
    np.testing.assert_allclose(found.values, c * values, rtol=EPS[dtype])
    assert found.residuals.max() <= EPS[dtype] * 4 * c
    np.testing.assert_allclose(found.weights, 0.25, rtol=100 * EPS[dtype])
    short = ritz(lanczos(lambda v: d * v.astype(dtype), np.ones(4, dtype), 2))
    assert short.residuals.max() > 0.1 * c, "two products know two values, and say that they are not exact"


@given(exponent=st.integers(-30, 30), of=st.integers(-30, 30))
def test_measures_of_geometry_do_not_depend_on_the_scale(exponent, of):
    c, d = 10.0**exponent, 10.0**of
    X, x, y = draw(0, 6, 30), draw(1, 30), draw(2, 30)

    def measured(a, b):
        G, U = subspace.gram(a * X), updates.gram(a * X)
        spectrum = subspace.pca(subspace.centred(G))
        basis = bases.Trajectory(a * X, {"m": slice(0, 12)})
        chance = bases.against_chance(basis.full(3), b * x, 20, np.random.default_rng(0))
        windows = updates.score(U, np.arange(2), 4)
        bracket = brackets.Commutator(a * b * x, a * x, b * y)
        walk = nulls.random_walk(a * np.ones(5), 30, np.random.default_rng(0))
        V, shares = reconstruction.directions(a * X, 3, True)
        built = reconstruction.rebuilt(V, np.zeros(30), b * x)
        return [
            spectrum.shares,
            [spectrum.participation_ratio],
            [subspace.components(a * X, spectrum, 3, True).shape[1]],
            chance,
            bases.angles(basis.attention(2), basis.full(2)),
            (windows.share, windows.R, windows.k),
            [brackets.defect(bracket)],
            subspace.pca(walk).shares,
            shares,
            [built.outside(k) for k in range(4)],
            effective_rank(a * X),
        ]

    for one, other in zip(measured(c, d), measured(1.0, 1.0), strict=True):
        np.testing.assert_allclose(np.hstack(one), np.hstack(other), rtol=1e-6, atol=1e-9)
