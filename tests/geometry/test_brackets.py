"""The commutator's laws, on quadratic losses with closed forms, on the network, and at the paper's rounding floor."""

import numpy as np
import pytest

from minigrok.config import Config, Model, Task, preset
from minigrok.geometry import brackets, lengths
from minigrok.network.objective import Objective
from minigrok.network.params import initial, layout

CONFIG = Config("small", task=Task(p=5, exclude_zero=False), model=Model(width=4, heads=2, mlp_width=3))


class Quadratic:
    """1/2 theta^T H theta + <c, theta>."""

    def __init__(self, rng, n=7):
        root = rng.standard_normal((n, n))
        self.H, self.c = root + root.T, rng.standard_normal(n)

    def grad(self, theta):
        return self.H @ theta + self.c

    def hvp(self, theta, v):
        return self.H @ v


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def network(rng, B=11, scale=1.0):
    tokens, targets = rng.integers(0, 5, (B, 2)), rng.integers(0, 5, (2, B))
    return Objective(CONFIG, tokens, targets, [scale, scale])


def place(rng):
    theta = initial(CONFIG).astype(np.float64)
    return theta + 0.3 * rng.standard_normal(theta.size)


@pytest.mark.parametrize("eta", [1e-3, 1.0])
def test_of_quadratics_is_the_closed_form_at_every_eta(rng, eta):
    a, b, theta = Quadratic(rng), Quadratic(rng), rng.standard_normal(7)
    closed = b.H @ (a.H @ theta + a.c) - a.H @ (b.H @ theta + b.c)
    assert np.allclose(brackets.bracket(a, b, theta).vector, closed, rtol=1e-13)
    assert np.allclose(brackets.difference(a, b, theta, eta).vector / eta**2, closed, atol=1e-14 / eta**2)


def test_differences_in_float64_converge_to_the_bracket_with_slope_1(rng):
    a, b, theta = network(rng), network(rng), place(rng)
    exact = brackets.bracket(a, b, theta).vector
    etas = np.array([3e-4, 1e-4, 3e-5, 1e-5])
    errors = [brackets.norm(brackets.difference(a, b, theta, eta).vector / eta**2 - exact) for eta in etas]
    slopes = np.diff(np.log(errors)) / np.diff(np.log(etas))
    assert np.all(np.abs(slopes - 1) < 0.05)
    assert errors[-1] < 1e-2 * brackets.norm(exact)


def test_antisymmetric_to_the_last_bit(rng):
    a, b, theta = network(rng), network(rng), place(rng)
    assert np.array_equal(brackets.bracket(a, b, theta).vector, -brackets.bracket(b, a, theta).vector)
    forth, back = brackets.difference(a, b, theta), brackets.difference(b, a, theta)
    assert np.array_equal(forth.vector, -back.vector)


def test_identical_batches_give_0(rng):
    a, theta = network(rng), place(rng)
    b = network(np.random.default_rng(0))
    assert not brackets.bracket(a, b, theta).vector.any()
    assert not brackets.difference(a, b, theta).vector.any()


def test_a_factor_on_either_loss_leaves_d(rng):
    """|[A, B]| times s t, |g_A| times s, |g_B| times t: a sum of n equal losses has the D of one of them."""
    theta = place(rng)
    one, scaled = (
        brackets.bracket(network(np.random.default_rng(5), scale=s), network(np.random.default_rng(6), scale=t), theta)
        for s, t in [(1.0, 1.0), (3.0, 0.5)]
    )
    assert brackets.norm(scaled.vector) == pytest.approx(1.5 * brackets.norm(one.vector))
    assert brackets.defect(scaled) == pytest.approx(brackets.defect(one))


def test_weights_in_larger_units_have_smaller_d(rng):
    """L_c(theta) = L(theta / c): the same function in other units of its weights has D / c."""

    class Rescaled:
        def __init__(self, loss, c):
            self.loss, self.c = loss, c

        def grad(self, theta):
            return self.loss.grad(theta / self.c) / self.c

        def hvp(self, theta, v):
            return self.loss.hvp(theta / self.c, v) / self.c**2

    a, b, theta = network(rng), network(rng), place(rng)
    there = brackets.bracket(Rescaled(a, 2.0), Rescaled(b, 2.0), 2.0 * theta)
    assert brackets.defect(there) == pytest.approx(brackets.defect(brackets.bracket(a, b, theta)) / 2)


def test_paper_defect_is_the_defect_where_1e_12_does_not_matter(rng):
    a, b, theta = network(rng), network(rng), place(rng)
    c = brackets.difference(a, b, theta)
    assert brackets.paper_defect(c) == pytest.approx(brackets.defect(c, brackets.ETA), rel=1e-4)
    tiny = brackets.Commutator(c.vector, 1e-9 * c.g_a, 1e-9 * c.g_b)
    assert brackets.paper_defect(tiny) == pytest.approx(brackets.norm(c.vector) / 1e-12, rel=1e-4)


def test_zero_gradients_have_no_defect_and_no_cosine():
    c = brackets.Commutator(*np.zeros((3, 4)))
    assert np.isnan(brackets.defect(c))
    assert brackets.paper_defect(c) == 0
    assert np.isnan(lengths.cosine(c.g_a, np.ones(4)))


FLOORS = {10: 0.009, 1: 0.95, 0.3: 10, 0.1: 90, 0.03: 800, 0.003: 0}  # |g| -> D with H = 0


@pytest.mark.parametrize("size", FLOORS)
def test_float32_floor_of_the_paper(size):
    """H = 0, so the true D is 0: what float32 with eta = 1e-3 prints at P = 302,914, isotropic g."""
    rng = np.random.default_rng(1)
    theta = initial(preset("dual"))
    assert theta.size == 302_914
    g_a, g_b = rng.standard_normal((2, theta.size))
    g_a, g_b = ((size * g / np.linalg.norm(g)).astype(np.float32) for g in (g_a, g_b))
    floor = brackets.paper_defect(brackets.rounding_floor(g_a, g_b, theta))
    assert floor == pytest.approx(FLOORS[size], rel=0.15)


def test_the_floor_of_the_paper_is_that_of_gains_that_are_exactly_one():
    """x - a - b rounds like x - b - a unless a power of two is crossed; gains of 0.9 make the floor 30 times lower."""
    rng = np.random.default_rng(1)
    theta = initial(preset("dual"))
    parts = layout(preset("dual"))
    gains = np.zeros(parts.size, bool)
    for name in parts.names:
        gains[parts.slices[name]] = "norm" in name and name.endswith("weight")
    g_a, g_b = (rng.standard_normal((2, theta.size)) / np.sqrt(theta.size)).astype(np.float32)
    floor = brackets.rounding_floor(g_a, g_b, theta)
    assert brackets.norm(floor.vector[gains]) > 0.99 * brackets.norm(floor.vector)
    theta[gains] = 0.9
    assert brackets.paper_defect(brackets.rounding_floor(g_a, g_b, theta)) < brackets.paper_defect(floor) / 30


def test_rounding_error_is_in_units_of_d(rng):
    a, b, theta = network(rng), network(rng), place(rng)
    double = brackets.difference(a, b, theta)
    single = double._replace(vector=(1.5 * double.vector).astype(np.float32))
    error = brackets.rounding_error(single, double)
    assert error == pytest.approx(0.5 * brackets.defect(double, brackets.ETA), rel=1e-5)


def test_the_floor_goes_as_one_over_eta_squared(rng):
    """As long as steps are large beside the spacing of float32 numbers."""
    theta = initial(preset("tiny"))
    g_a, g_b = (20 * rng.standard_normal((2, theta.size)) / np.sqrt(theta.size)).astype(np.float32)
    floors = [brackets.defect(brackets.rounding_floor(g_a, g_b, theta, eta), eta) for eta in (1e-3, 1e-2)]
    assert floors[0] / floors[1] == pytest.approx(100, rel=0.2)


def test_float64_floor_is_nothing(rng):
    theta = initial(preset("tiny")).astype(np.float64)
    g_a, g_b = rng.standard_normal((2, theta.size)) / np.sqrt(theta.size)
    assert brackets.defect(brackets.rounding_floor(g_a, g_b, theta), brackets.ETA) < 1e-8
