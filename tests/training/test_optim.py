"""AdamW and clipping against the formula in NumPy float64, written here on its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minigrok.config import Optimiser
from minigrok.engine import Array, open_engine
from minigrok.training.optim import CHUNK, AdamW, norm

ENGINES = ["plain", "cpu"]
P = 2 * CHUNK + 5
SETTINGS = Optimiser(learning_rate=0.02, weight_decay=0.7, beta1=0.8, beta2=0.95, eps=1e-3, clip_norm=1.5)


def by_the_book(s: Optimiser, theta: Array, gradients: list[Array]) -> list[Array]:
    """Loshchilov & Hutter 2019, algorithm 2, after clipping by the global norm; theta after each step."""
    m, v, path = np.zeros_like(theta), np.zeros_like(theta), []
    for t, gradient in enumerate(gradients, start=1):
        size = np.linalg.norm(gradient)
        g = gradient * (s.clip_norm / (size + 1e-6) if size + 1e-6 > s.clip_norm else 1.0)
        m = s.beta1 * m + (1 - s.beta1) * g
        v = s.beta2 * v + (1 - s.beta2) * g * g
        m_hat, v_hat = m / (1 - s.beta1**t), v / (1 - s.beta2**t)
        theta = theta - s.learning_rate * s.weight_decay * theta
        theta = theta - s.learning_rate * m_hat / (np.sqrt(v_hat) + s.eps)
        path.append(theta)
    return path


def draws(seed: int) -> tuple[Array, list[Array]]:
    """A start and 20 gradients: some far above the clipping norm, some below it, elements over six decades."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-5, 1, P)
    sizes = [30.0, 0.5] * 10
    gradients = [scale * rng.standard_normal(P) for _ in sizes]
    return rng.standard_normal(P), [g * (n / np.linalg.norm(g)) for g, n in zip(gradients, sizes, strict=True)]


def run(engine: str, dtype: str, settings: Optimiser, theta: Array, gradients: list[Array]) -> list[Array]:
    machine = open_engine(engine, dtype)
    adamw, theta, path = AdamW(settings, machine, theta.size), theta.astype(dtype), []
    for gradient in gradients:
        g = gradient.astype(dtype)
        adamw.step(theta, g, norm(machine, g))
        path.append(theta.copy())
    return path


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 3e-6)])
def test_twenty_steps_are_the_formula(engine: str, dtype: str, tolerance: float) -> None:
    theta, gradients = draws(0)
    expected = by_the_book(SETTINGS, theta, gradients)
    found = run(engine, dtype, SETTINGS, theta, gradients)
    assert max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True)) < tolerance


@pytest.mark.parametrize(
    "change",
    [
        {"clip_norm": 1.6},
        {"clip_norm": math.inf},
        {"weight_decay": 0.701},
        {"beta1": 0.801},
        {"beta2": 0.951},
        {"eps": 1.01e-3},
        {"learning_rate": 0.02001},
    ],
)
def test_the_comparison_sees_every_setting(change: dict[str, float]) -> None:
    theta, gradients = draws(0)
    other = Optimiser(**{name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__} | change)
    expected = by_the_book(other, theta, gradients)
    found = run("cpu", "float64", SETTINGS, theta, gradients)
    assert max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True)) > 1e-8


def test_a_gradient_below_the_clipping_norm_is_not_touched() -> None:
    """Also not by the 1e-6: a step with it clipped at infinity is the same to the bit."""
    theta, gradients = draws(1)
    small = [g * (0.5 / np.linalg.norm(g)) for g in gradients]
    unclipped = Optimiser(clip_norm=math.inf)
    a, b = run("cpu", "float32", Optimiser(), theta, small), run("cpu", "float32", unclipped, theta, small)
    assert np.array_equal(a[-1], b[-1])


def test_without_a_gradient_only_the_decay_acts() -> None:
    theta, _ = draws(2)
    path = run("cpu", "float64", SETTINGS, theta, [np.zeros(P)] * 3)
    assert np.allclose(path[-1], theta * (1 - 0.02 * 0.7) ** 3, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("engine", "size"),
    [*((engine, size) for engine in ENGINES for size in (1, CHUNK - 1, CHUNK, CHUNK + 1)), ("cpu", 302_914)],
)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-14), ("float32", 1e-6)])
def test_the_norm_is_the_root_of_the_sum_of_squares(engine: str, size: int, dtype: str, rtol: float) -> None:
    g = (10.0 ** np.random.default_rng(0).uniform(-4, 0, size)).astype(dtype)
    exact = math.sqrt(math.fsum(float(x) ** 2 for x in g))
    assert norm(open_engine(engine, dtype), g) == pytest.approx(exact, rel=rtol)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [1, CHUNK, CHUNK + 1])
@pytest.mark.parametrize(
    ("dtype", "exponent"),
    [*(("float32", e) for e in (-38, -30, -23, -20, 18, 20, 30)), *(("float64", e) for e in (-300, -160, 160, 300))],
)
def test_the_norm_is_right_where_squares_are_not(engine: str, size: int, dtype: str, exponent: int) -> None:
    g = (10.0**exponent * np.random.default_rng(0).uniform(1, 9, size)).astype(dtype)
    g[: size // 2] *= -1
    top = float(np.abs(g).max())
    exact = top * math.sqrt(math.fsum((float(x) / top) ** 2 for x in g))
    assert norm(open_engine(engine, dtype), g) == pytest.approx(exact, rel=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_a_gradient_of_any_size_is_clipped_to_a_direction(size: float) -> None:
    """In float32 its norm was infinite, or 0: the run ended, or the gradient was not recorded."""
    theta, (g, *_) = draws(3)
    machine = open_engine("cpu", "float32")
    scaled = (size / np.linalg.norm(g) * g).astype(np.float32)
    found = norm(machine, scaled)
    assert found == pytest.approx(size, rel=1e-6)
    adamw, moved = AdamW(SETTINGS, machine, P), theta.astype(np.float32)
    adamw.step(moved, scaled, found)
    assert np.isfinite(moved).all()
    clipped = min(size, SETTINGS.clip_norm)
    assert norm(machine, adamw.m) == pytest.approx((1 - SETTINGS.beta1) * clipped, rel=1e-5)


def test_the_norm_has_one_value_wherever_the_vector_lies() -> None:
    """The order of the sum is fixed by the chunks, not by the alignment of the memory."""
    g = np.random.default_rng(0).standard_normal(P).astype(np.float32)
    machine = open_engine("cpu", "float32")
    room = np.zeros(P + 16, np.float32)
    for offset in range(16):
        room[offset : offset + P] = g
        assert norm(machine, room[offset : offset + P]) == norm(machine, g)


def test_the_norm_shows_what_is_not_finite() -> None:
    machine = open_engine("cpu", "float32")
    for bad in (np.nan, np.inf, -np.inf):
        g = np.ones(P, np.float32)
        g[CHUNK + 3] = bad
        assert not np.isfinite(norm(machine, g))
