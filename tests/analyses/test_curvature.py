"""Curvature at one point against the dense Hessian of a tiny model and against known spectra."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, rises

from minigrok.analyses.base import Work
from minigrok.analyses.shared import curvature
from minigrok.config import preset, with_settings
from minigrok.geometry.bases import Basis
from minigrok.geometry.krylov import Quadrature
from minigrok.geometry.subspace import orthonormal
from minigrok.network.objective import Objective
from minigrok.network.params import initial
from minigrok.storage.runs import create
from minigrok.tasks import pairs
from minigrok.training.train import train

RNG = np.random.default_rng(11)
TINY = [*SMALL, "task.p=5", "model.width=4", "model.mlp_width=3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make(tmp_path_factory.mktemp("runs") / "a", [rises(13), rises(15)], settings=TINY)


@pytest.fixture(scope="module")
def theta():
    config = with_settings(preset("tiny"), TINY)
    start = initial(config).astype(np.float64)
    return start + 0.3 * np.random.default_rng(0).standard_normal(start.size)


def columns(product, n):
    return np.stack([product(e) for e in np.eye(n)], axis=1)


@pytest.fixture(scope="module")
def H(run, theta):
    return columns(curvature.Curvature(run).at(theta).hessian, theta.size)


def with_spectrum(values, seed=0):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    return (Q * values) @ Q.T


def test_hessian_is_that_of_all_train_pairs_and_the_sum_over_tasks(run, theta, H):
    data = pairs(run.config.task, run.config.seed)
    direct = Objective(run.config, data.tokens[data.train], data.targets[:, data.train])
    v = np.random.default_rng(1).standard_normal(theta.size)
    at = curvature.Curvature(run)
    assert np.allclose(at.at(theta).hessian(v), direct.hvp(theta, v), atol=1e-12)
    assert np.allclose(H @ v, direct.hvp(theta, v), atol=1e-12)
    each = [at.at(theta, task).hessian(v) for task in run.config.task.operations]
    assert np.allclose(sum(each), H @ v, atol=1e-12)


def test_gauss_newton_and_rest_add_up_and_the_former_has_no_negative_value(run, theta, H):
    at, n = curvature.Curvature(run).at(theta), theta.size
    G, R = columns(at.gauss_newton, n), columns(at.rest, n)
    assert np.allclose(G + R, H, atol=1e-12)
    assert np.linalg.eigvalsh(G)[0] > -1e-12
    assert np.linalg.eigvalsh(R)[0] < -1e-3


def test_ends_are_the_eigenvalues_of_the_dense_hessian(run, theta, H):
    start = np.random.default_rng(2).standard_normal(theta.size)
    found = curvature.spectrum(curvature.Curvature(run).at(theta).hessian, start, 90, with_vectors=True)
    e, true = curvature.ends("H", found, 3, 3, 1e-2), np.linalg.eigvalsh(H)
    assert e.lowest.converged.all()
    assert e.highest.converged.all()
    assert np.allclose(e.lowest.values, true[:3], rtol=1e-4)
    assert np.allclose(e.highest.values, true[:-4:-1], rtol=1e-8)
    assert e.products == 90
    outer = found["vectors"]
    residual = np.linalg.norm(H @ outer - outer * found["values"][[0, -1]], axis=0)
    assert np.allclose(residual, found["residuals"][[0, -1]], atol=1e-10)


def test_few_products_say_that_they_have_not_converged(run, theta, H):
    start = np.random.default_rng(2).standard_normal(theta.size)
    e = curvature.ends("H", curvature.spectrum(lambda v: H @ v, start, 4), 1, 1, 1e-2)
    assert not e.lowest.converged[0]
    true = np.linalg.eigvalsh(H)
    assert e.lowest.values[0] > true[0]  # never beyond the true end
    assert np.abs(true - e.lowest.values[0]).min() <= e.lowest.residuals[0]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6, 1e-9])
def test_ends_and_convergence_do_not_depend_on_the_scale(scale):
    A = with_spectrum(scale * np.r_[-3.0, -3.0, np.linspace(-0.5, 0.5, 196), 8.0, 10.0])
    e = curvature.ends(
        "A", curvature.spectrum(A.__matmul__, np.random.default_rng(1).standard_normal(200), 60), 1, 2, 0.01
    )
    assert np.allclose([e.lowest.values[0], *e.highest.values], scale * np.array([-3, 10, 8]), rtol=1e-10)
    assert e.lowest.converged.all()
    assert e.highest.converged.all()


def test_zero_operator_has_ends_and_no_density():
    found = curvature.spectrum(lambda v: 0 * v, np.ones(9), 5)
    e = curvature.ends("0", found, 3, 3, 0.01)
    assert e.lowest.values.tolist() == e.highest.values.tolist() == [0]
    assert curvature.density([found], 9) is None


def test_inside_and_outside_are_the_dense_restrictions(theta, H):
    B = orthonormal(np.random.default_rng(3).standard_normal((theta.size, 4)))
    assert np.allclose(curvature.inside(H.__matmul__, B), B.T @ H @ B, atol=1e-12)
    v = np.random.default_rng(4).standard_normal(theta.size)
    away = curvature.project_out(B, v)
    assert np.abs(B.T @ away).max() < 1e-12
    assert np.allclose(curvature.project_out(B, away), away, atol=1e-12)


def test_curvature_planted_inside_the_basis_is_found_there_and_not_outside():
    B = orthonormal(np.random.default_rng(3).standard_normal((60, 3)))
    A = 5.0 * B @ B.T + 0.1 * np.eye(60)
    assert np.allclose(np.linalg.eigvalsh(curvature.inside(A.__matmul__, B)), 5.1)
    outside = curvature.spectrum(
        lambda v: curvature.project_out(B, A @ curvature.project_out(B, v)),
        np.random.default_rng(5).standard_normal(60),
        20,
    )
    assert outside["values"].max() == pytest.approx(0.1)


def test_random_bases_lie_in_the_same_blocks():
    rng = np.random.default_rng(6)
    basis = Basis([(orthonormal(rng.standard_normal((10, 2))), slice(5, 15)), (np.ones((1, 1)), slice(20, 21))], 30)
    R = curvature.random_like(basis, rng)
    assert np.allclose(R.T @ R, np.eye(3), atol=1e-12)
    assert np.flatnonzero(np.abs(R).sum(axis=1)).tolist() == [*range(5, 15), 20]
    assert curvature.dense(basis).shape == (30, 3)
    assert not np.allclose(np.abs(R), np.abs(curvature.dense(basis)))


def test_density_integrates_to_p_and_puts_each_value_in_its_place():
    """150 of -1, 300 of 0 and 50 of 4, scaled by 1e-6: mass, places, trace."""
    values = 1e-6 * np.r_[np.full(150, -1.0), np.zeros(300), np.full(50, 4.0)]
    A, rng = with_spectrum(values), np.random.default_rng(7)
    starts = [curvature.spectrum(A.__matmul__, rng.standard_normal(500), 20) for _ in range(12)]
    d = curvature.density(starts, 500)
    x = np.arcsinh(d.relative / curvature.LINEAR)
    assert np.allclose(np.sum(d.each, axis=1) * (x[1] - x[0]), 500, rtol=1e-3)
    assert d.scale == pytest.approx(4e-6)
    mass = [np.sum(d.each.mean(axis=0)[part]) * (x[1] - x[0]) for part in (x < -3, np.abs(x) < 3, x > 3)]
    assert np.allclose(mass, [150, 300, 50], atol=25)
    assert abs(d.trace - values.sum()) < 4 * d.error


def test_density_of_starts_that_ended_early():
    keys = ("values", "weights", "residuals")
    a = dict(zip(keys, np.array([[1.0], [1.0], [0.0]]), strict=True))
    b = dict(zip(keys, np.array([[-1.0, 1.0], [0.5, 0.5], [0.0, 0.0]]), strict=True))
    d = curvature.density([a, b], 10)
    assert d.resolved.tolist() == [1, 1]  # exact, however far apart the values are
    assert d.products.tolist() == [1, 2]
    x = np.arcsinh(d.relative / curvature.LINEAR)
    assert np.allclose(np.sum(d.each, axis=1) * (x[1] - x[0]), 10, rtol=1e-3)
    assert d.each[0][x < 0].max() < 1e-6


def off(values, start, products):
    """Distance in L1, at most 2, of a density to that of the start's own weights on a known spectrum, and resolved."""
    found = curvature.spectrum(lambda v: values * v, start, products)
    d, weights = curvature.density([found], 1), np.square(start) / (start @ start)
    x, nodes = (np.arcsinh(v / curvature.LINEAR) for v in (d.relative, values / d.scale))
    true = Quadrature(nodes[None], weights[None], 1).density(x, curvature.WIDTH)
    return np.sum(np.abs(d.each[0] - true)) * (x[1] - x[0]), d.resolved[0]


@pytest.mark.parametrize("products", [27, 80, 200])
def test_resolved_tells_a_density_that_is_measured_from_one_that_is_not(products):
    """Initial weights: values on all scales around 0. Trained: the mass within .0004 of the largest value."""
    rng = np.random.default_rng(0)
    decades = rng.choice([-1, 1], 3000) * 10.0 ** rng.uniform(-5, 0, 3000)
    bulk = np.r_[1e-4 * rng.standard_normal(2900), 10.0 ** rng.uniform(-2, 0, 100)]
    for values, is_known in ((decades, False), (bulk, True)):
        error, resolved = off(values, rng.standard_normal(3000), products)
        assert (resolved >= 0.9) == is_known, (error, resolved)
        assert error < 0.04 if is_known else error > 0.04


@pytest.mark.slow
def test_at_initial_weights_the_density_is_not_resolved_and_after_training_it_is(tmp_path):
    """The dense Hessian of a small model, 80 products: off by half of 2, and by less than a hundredth."""
    config = with_settings(
        preset("tiny"), ["task.p=11", "model.width=12", "model.mlp_width=24", "train.max_steps=1000"]
    )
    with create(tmp_path / "a", with_settings(config, ["train.stop_when_grokked=false"])) as trained:
        train(trained, 1)
    found = []
    for step in (0, 1000):
        at = curvature.Curvature(trained).at(trained.load_snapshot(step).astype(np.float64))
        found.append(
            off(
                np.linalg.eigvalsh(columns(at.hessian, trained.layout.size)),
                RNG.standard_normal(trained.layout.size),
                80,
            )
        )
    assert found[0][0] > 0.3
    assert found[0][1] < 0.6
    assert found[1][0] < 0.02
    assert found[1][1] > 0.9


def test_groups_share_all_parameters_out(run):
    masks = curvature.groups(run.layout)
    assert list(masks) == ["embeddings", "L0 attention", "L0 MLP", "norms", "heads"]
    assert (np.sum(list(masks.values()), axis=0) == 1).all()


def test_meter_counts_and_jumps_over_parts_that_are_there(tmp_path):
    said = []
    work = Work(0, tmp_path, "k", lambda done, of, words: said.append((done, of, words)))
    for _ in range(2):
        meter = curvature.Meter(work, 30)

        def compute(meter=meter):
            for _ in range(10):
                meter.tick()
            return {"x": np.ones(1)}

        meter.part("a", 20, compute)
        assert meter.done == 20
    assert said == [(10, 30, "products: a"), (20, 30, "products: a"), (20, 30, "products: a")]
