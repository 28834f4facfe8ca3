"""Cross-entropy at the edge: a loss of 1e-12 has a gradient, huge logits stay finite, collapse is an option."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from minigrok.engine import ENGINES, Array, open_engine
from minigrok.layers import cross_entropy

DTYPES = ["float32", "float64"]
V = 5


def loss_and_gradient(engine: str, x: Array, target: list[int], saturating: bool = False) -> tuple[Array, Array]:
    machine = open_engine(engine, x.dtype)
    loss, tape = cross_entropy.forward(machine, x, np.array(target), saturating)
    return loss, cross_entropy.backward(machine, tape, 1.0)


def sure(gap: float, dtype: str) -> Array:
    """Logits (1, V) whose class 2 leads by `gap` nats."""
    x = np.zeros((1, V), dtype)
    x[0, 2] = gap
    return x


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [1e-3, 6e-8, 1e-12, 1e-17, 1e-30])
def test_a_tiny_loss_and_its_gradient_are_accurate(engine: str, dtype: str, loss: float) -> None:
    """Below 6e-8 (float32) and 1e-16 (float64) the textbook p - 1 and log Z - x_k are 0."""
    x = sure(math.log((V - 1) / math.expm1(loss)), dtype)
    exact = math.log1p((V - 1) * math.exp(-float(x[0, 2])))  # of the logits as they were rounded
    share = -math.expm1(-exact)
    found, dx = loss_and_gradient(engine, x, [2])
    eps = float(np.finfo(dtype).eps)
    assert found[0] == pytest.approx(exact, rel=4 * eps)
    assert dx[0, 2] == pytest.approx(-share, rel=4 * eps)
    assert np.allclose(np.delete(dx[0], 2), share / (V - 1), rtol=4 * eps, atol=0)
    assert dx[0, 2] == pytest.approx(-np.delete(dx[0], 2).sum(dtype=np.float64), rel=4 * eps)
    assert dx[0, 2] < 0


@pytest.mark.parametrize("engine", ENGINES)
def test_saturating_collapses_in_float32_and_stable_does_not(engine: str) -> None:
    """A loss of 1e-9: the paper's float32 form has loss 0 and no pull on the true class."""
    x = sure(math.log((V - 1) * 1e9), "float32")
    loss, dx = loss_and_gradient(engine, x, [2], saturating=True)
    assert loss[0] == 0
    assert dx[0, 2] == 0
    assert (np.delete(dx[0], 2) > 0).all(), "the other classes are still pushed: the row sum is no longer 0"
    loss, dx = loss_and_gradient(engine, x, [2])
    assert loss[0] == pytest.approx(1e-9, rel=1e-5)
    assert dx[0, 2] == pytest.approx(-1e-9, rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_two_forms_agree_where_neither_loses_digits(engine: str, dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal((40, V)).astype(dtype)
    target = list(np.arange(40) % V)
    for a, b in zip(loss_and_gradient(engine, x, target), loss_and_gradient(engine, x, target, True), strict=True):
        assert np.allclose(a, b, rtol=0, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("saturating", [False, True])
def test_huge_logits_stay_finite(engine: str, dtype: str, saturating: bool) -> None:
    x = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], dtype)
    loss, dx = loss_and_gradient(engine, x, [0, 1, 2, 0], saturating)
    assert np.allclose(loss, [0, 2e4, math.log(3), math.log(3)], rtol=1e-6, atol=0)
    assert np.allclose(dx[:2], [[0, 0, 0], [1, -1, 0]], rtol=0, atol=1e-6)
    assert np.allclose(dx[2:], [[1 / 3, 1 / 3, -2 / 3], [-2 / 3, 1 / 3, 1 / 3]], rtol=1e-6, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("place", range(V))
def test_broken_logits_give_a_broken_loss(engine: str, dtype: str, saturating: bool, place: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, V)).astype(dtype)
    x[0, place], x[1, place] = np.nan, np.inf
    with np.errstate(all="ignore"):
        loss, dx = loss_and_gradient(engine, x, [2, 2, 2], saturating)
    assert np.isnan(loss[:2]).all()
    assert np.isnan(dx[:2]).any(axis=1).all()
    assert np.isfinite(loss[2])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_impossible_class_has_an_infinite_loss_and_others_do_not_mind(engine: str, dtype: str) -> None:
    x = np.array([[0.0, -np.inf, 0.0], [0.0, -np.inf, 0.0]], dtype)
    with np.errstate(all="ignore"):
        loss, dx = loss_and_gradient(engine, x, [1, 0])
    assert loss[0] == np.inf
    assert loss[1] == pytest.approx(math.log(2), rel=1e-6)
    assert np.allclose(dx, [[0.5, -1, 0.5], [-0.5, 0, 0.5]], rtol=1e-6, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_curvature_of_a_tiny_loss_is_accurate(engine: str, dtype: str) -> None:
    """At a loss of 1e-12, H along e_k is p_k (1 - p_k) = 1e-12 in the true class: no cancellation there either."""
    x, machine = sure(math.log((V - 1) * 1e12), dtype), open_engine(engine, dtype)
    _, tape = cross_entropy.forward(machine, x, np.array([2]))
    along = np.zeros((1, V), dtype)
    along[0, 2] = 1
    Hv = cross_entropy.r_backward(machine, tape, 1.0, along)
    assert Hv[0, 2] == pytest.approx(1e-12, rel=1e-5)
    assert np.allclose(np.delete(Hv[0], 2), -1e-12 / (V - 1), rtol=1e-5, atol=0)
    assert cross_entropy.r_forward(machine, tape, along)[0] == pytest.approx(-1e-12, rel=1e-5)


def exact_curvature(x: Array, Rx: Array) -> tuple[list[float], list[float]]:
    """Rdx = p (Rx - sum p Rx) of one row, to 400 digits, and the same of sizes: what rounding is relative to."""
    with localcontext() as context:
        context.prec = 400
        e = [Decimal(float(each)).exp() for each in x]
        p = [each / sum(e) for each in e]
        u = [Decimal(float(each)) - Decimal(float(Rx[p.index(max(p))])) for each in Rx]
        mean, size = (sum(a * b for a, b in zip(p, v, strict=True)) for v in (u, map(abs, u)))
        values = [a * (b - mean) for a, b in zip(p, u, strict=True)]
        return [float(each) for each in values], [float(a * (abs(b) + size)) for a, b in zip(p, u, strict=True)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("dtype", "gap"),
    [*(("float64", g) for g in (0, 1, 10, 20, 40, 100, 300, 600, 700)), *(("float32", g) for g in (0, 10, 40, 80))],
)
@pytest.mark.parametrize("true", range(V))
def test_the_curvature_is_accurate_whichever_class_has_all_the_probability(
    engine: str, dtype: str, gap: float, true: int
) -> None:
    """Class 2 leads by `gap` nats, right or wrong. A logit of 700 nats is known to 700 eps, so p is, too."""
    rng = np.random.default_rng(int(gap))
    x, Rx = sure(gap, dtype), rng.standard_normal((1, V)).astype(dtype)
    x[0] += rng.uniform(0, 1, V).astype(dtype)
    machine = open_engine(engine, dtype)
    _, tape = cross_entropy.forward(machine, x, np.array([true]))
    found = cross_entropy.r_backward(machine, tape, 1.0, Rx)
    exact, size = exact_curvature(x[0], Rx[0])
    assert (np.abs(found[0] - exact) <= (8 + gap) * np.finfo(dtype).eps * np.array(size)).all()
