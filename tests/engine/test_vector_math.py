"""exp and erf under the CPU engine's flags: accuracy, special values, dtype, and that they vectorise."""

from __future__ import annotations

import math
import re

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.extending import register_jitable
from scipy import special

from minigrok.engine import vector_math
from minigrok.engine.cpu import FLAGS

DTYPES = [np.float32, np.float64]
WIDTH = {np.float32: 32, np.float64: 64}


def apply_to(function):
    """Return a compiled loop y = function(x), as the CPU engine would compile it."""

    def loop(x, y):
        for i in range(x.shape[0]):
            y[i] = function(x[i])

    return numba.njit(loop, **FLAGS)


EXP, ERF = apply_to(vector_math.exp), apply_to(vector_math.erf)


def run(loop, real, x):
    x = np.asarray(x, real)
    y = np.empty_like(x)
    loop(x, y)
    return x.astype(np.float64), y.astype(np.float64)


def check_exp(loop, real, x):
    """Relative error 1.5 eps (partly the reference's); 0 and inf beyond the normal numbers; NaN to NaN."""
    x, y = run(loop, real, x)
    info = np.finfo(real)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        want = np.exp(x)
        close = np.abs(y - want) <= 1.5 * info.eps * want
    vanished = (y == 0) & (want < 1.5 * float(info.tiny))
    overflowed = (y == np.inf) & (want > (1 - info.eps) * float(info.max))
    wrong = ~(close | vanished | overflowed | (np.isnan(x) & np.isnan(y)))
    assert not wrong.any(), (x[wrong][:5], y[wrong][:5], want[wrong][:5])


def check_erf(loop, real, x):
    """Absolute error 2 eps; within [-1, 1]; NaN to NaN."""
    x, y = run(loop, real, x)
    want = special.erf(x)
    right = (np.abs(y - want) <= 2 * np.finfo(real).eps) & (np.abs(y) <= 1)
    wrong = ~(right | (np.isnan(x) & np.isnan(y)))
    assert not wrong.any(), (x[wrong][:5], y[wrong][:5], want[wrong][:5])


def grid(real, end, size=200_001):
    return np.linspace(-end, end, size).astype(real)


@pytest.mark.parametrize("real", DTYPES)
def test_exp_on_grids(real):
    for end in (1e-3, 1, 20, 1.05 * np.log(float(np.finfo(real).max))):
        check_exp(EXP, real, grid(real, end))


@pytest.mark.parametrize("real", DTYPES)
def test_erf_on_grids(real):
    for end in (1e-3, 1, 7, 100):
        check_erf(ERF, real, grid(real, end))


@pytest.mark.parametrize("real", DTYPES)
@given(data=st.data())
def test_any_number(real, data):
    x = data.draw(st.lists(st.floats(width=WIDTH[real]), min_size=1, max_size=40))
    check_exp(EXP, real, x)
    check_erf(ERF, real, x)
    x = np.asarray(x, real)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(run(ERF, real, -x)[1], -run(ERF, real, x)[1])


@pytest.mark.parametrize("real", DTYPES)
def test_special_values(real):
    info = np.finfo(real)
    x = [0.0, -0.0, np.inf, -np.inf, np.nan, info.max, -info.max, info.smallest_subnormal]
    np.testing.assert_array_equal(run(EXP, real, x)[1], [1, 1, np.inf, 0, np.nan, np.inf, 0, 1])
    np.testing.assert_array_equal(run(ERF, real, x)[1], [0, 0, 1, -1, np.nan, 1, -1, 0])


@pytest.mark.parametrize("real", DTYPES)
def test_erf_saturates(real):
    x = np.linspace({np.float32: 4, np.float64: 6}[real], 20, 10_001)
    assert (run(ERF, real, x)[1] == 1).all()


@pytest.mark.parametrize("real", DTYPES)
def test_exp_is_exact_to_the_edges(real):
    """Largest finite result finite; only results below 1.42 times the smallest normal number vanish."""
    info = np.finfo(real)
    top = real(np.log(float(info.max)))
    top = np.nextafter(top, real(0))
    assert np.isfinite(run(EXP, real, [top])[1]).all()
    low = real(np.log(1.42 * float(info.tiny)))
    assert (run(EXP, real, [low])[1] > 0).all()


@pytest.mark.parametrize("real", DTYPES)
@pytest.mark.parametrize("loop", [EXP, ERF], ids=["exp", "erf"])
@given(x=st.floats(-50, 50), size=st.integers(1, 80))
def test_bits_do_not_depend_on_the_position(loop, real, x, size):
    """The vector body of the loop and its scalar remainder agree, so shards may start anywhere."""
    y = run(loop, real, np.full(size, x))[1]
    assert (y == y[0]).all()


@pytest.mark.parametrize("real", DTYPES)
@pytest.mark.parametrize("function", [vector_math.exp, vector_math.erf], ids=["exp", "erf"])
def test_type_in_is_type_out(function, real):
    compiled = numba.njit(lambda x: function(x), **FLAGS)
    compiled(real(0.5))
    assert compiled.nopython_signatures[0].return_type == numba.from_dtype(np.dtype(real))


@pytest.mark.parametrize("real", DTYPES)
@pytest.mark.parametrize("loop", [EXP, ERF], ids=["exp", "erf"])
def test_loop_is_vectorised(loop, real):
    """Vector multiplications, nothing promoted to float64, no call of libm."""
    run(loop, real, [0.5])
    word = {np.float32: "float", np.float64: "double"}[real]
    code = next(text for signature, text in loop.inspect_llvm().items() if str(signature[0].dtype) == real.__name__)
    assert re.search(rf"fmul .*<\d+ x {word}>", code)
    assert "fpext" not in code
    assert not re.search(r"call[^\n]*@(expf?|erff?|llvm\.exp\.\w+)\(", code)


def test_the_plain_functions_do_not_vectorise():
    """The check above can fail: math.erf is a call."""
    loop = apply_to(math.erf)
    run(loop, np.float32, [0.5])
    (code,) = loop.inspect_llvm().values()
    assert not re.search(r"fmul .*<\d+ x float>", code)


@pytest.mark.parametrize(("real", "power"), [(np.float32, 1), (np.float32, 7), (np.float64, 4), (np.float64, 13)])
def test_a_wrong_exp_is_caught(real, power):
    """A coefficient that moves the result by 4 eps at the ends of the interval |r| <= 0.347."""
    taylor = list({np.float32: vector_math.EXP_32, np.float64: vector_math.EXP_64}[real])
    loop = apply_to(register_jitable(**vector_math.FLAGS)(vector_math.make_exp(real, taylor)))
    check_exp(loop, real, grid(real, 20))
    taylor[-1 - power] += 4 * np.finfo(real).eps / 0.347**power
    broken = apply_to(register_jitable(**vector_math.FLAGS)(vector_math.make_exp(real, taylor)))
    with pytest.raises(AssertionError):
        check_exp(broken, real, grid(real, 20))


@pytest.mark.parametrize(("real", "size"), [(np.float32, 1e-4), (np.float64, 1e-10)])
@pytest.mark.parametrize("index", [0, -2])
def test_a_wrong_erf_is_caught(real, size, index):
    bits = WIDTH[real]
    p, q = (list(getattr(vector_math, f"ERF_{bits}_{name}")) for name in "PQ")
    p[index] *= 1 + size
    broken = apply_to(register_jitable(**vector_math.FLAGS)(vector_math.make_erf(real, p, q)))
    with pytest.raises(AssertionError):
        check_erf(broken, real, grid(real, 7))
