"""The objective against dense, closed-form and independent baselines, in float64."""

import dataclasses

import numpy as np
import pytest

from minigrok.config import Config, Model, Task
from minigrok.engine import open_engine, portable
from minigrok.errors import ShapeError
from minigrok.network import model
from minigrok.network.evaluation import Evaluation
from minigrok.network.objective import Objective
from minigrok.network.params import initial, layout

CONFIG = Config("small", task=Task(p=5, exclude_zero=False), model=Model(width=4, heads=2, mlp_width=3))
WEIGHTS = np.array([1.0, 0.5])


@pytest.fixture(params=["plain", "cpu"])
def engine(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def make(engine, rng, B=17, **options):
    tokens, targets = rng.integers(0, 5, (B, 2)), rng.integers(0, 5, (2, B))
    objective = Objective(CONFIG, tokens, targets, WEIGHTS, engine=engine, **options)
    theta = initial(CONFIG).astype(np.float64) + 0.3 * rng.standard_normal(objective.size)
    objective.tokens = tokens  # for those who make the passes themselves
    return objective, theta


def test_gradient_is_the_slope_of_the_loss(engine, rng):
    objective, theta = make(engine, rng)
    v, h = rng.standard_normal(objective.size), 1e-5
    slope = (objective.loss(theta + h * v) - objective.loss(theta - h * v)) / (2 * h)
    assert objective.grad(theta) @ v == pytest.approx(slope, rel=1e-8)


def test_dense_hessian_by_columns(engine, rng):
    """All 340 columns of H against central differences of the gradient, and H = H^T."""
    objective, theta = make(engine, rng, shards=1 if engine == "plain" else 2)
    P, h = objective.size, 1e-5
    H = objective.hvp(theta, np.eye(P))
    differences = np.empty((P, P))
    for i, e in enumerate(np.eye(P)):
        differences[:, i] = (objective.grad(theta + h * e) - objective.grad(theta - h * e)) / (2 * h)
    assert P == 340
    assert np.abs(H - H.T).max() < 1e-14 * np.abs(H).max() * 10
    assert np.abs(H - differences).max() < 1e-8 * np.abs(H).max()


def test_hessian_of_the_heads_is_that_of_softmax_regression(engine, rng):
    """With z fixed, task k is a linear softmax model: H = w_k / B sum_i (diag p_i - p_i p_i^T) x (z_i, 1)(z_i, 1)^T."""
    objective, theta = make(engine, rng)
    tokens, B = objective.tokens, objective._net.size
    parts = layout(CONFIG)
    w = model.weights(parts.views(theta), CONFIG)
    logits, tape = model.forward(open_engine("plain", "float64"), w, model.plan(CONFIG, tokens))
    z = np.hstack([tape.heads[0], np.ones((B, 1))])  # (B, D + 1)
    for k, name in enumerate(CONFIG.task.operations):
        p = np.exp(logits[k]) / np.exp(logits[k]).sum(axis=1, keepdims=True)
        S = np.einsum("ic,cd->icd", p, np.eye(5)) - np.einsum("ic,id->icd", p, p)
        closed = WEIGHTS[k] / B * np.einsum("icd,ij,il->cjdl", S, z, z)  # class, input, class, input
        H = objective.hessian(theta, [f"heads.{name}.*"]) @ np.eye(25)
        as_flat = np.concatenate([np.arange(25).reshape(5, 5)[:, :4].ravel(), np.arange(25).reshape(5, 5)[:, 4]])
        assert np.allclose(H, closed.reshape(25, 25)[np.ix_(as_flat, as_flat)], rtol=0, atol=1e-14)


def test_gauss_newton_is_jacobian_times_logit_hessian_times_jacobian(engine, rng):
    objective, theta = make(engine, rng, B=6, shards=2)
    J = np.stack([objective.jvp(theta, e).ravel() for e in np.eye(objective.size)], axis=1)  # (2 * 6 * 5, P)
    z0 = np.stack([objective_logits(objective, theta, k) for k in range(2)])
    p = np.exp(z0) / np.exp(z0).sum(axis=2, keepdims=True)
    S = np.zeros((60, 60))
    for k in range(2):
        for i in range(6):
            rows = slice((k * 6 + i) * 5, (k * 6 + i + 1) * 5)
            S[rows, rows] = WEIGHTS[k] / 6 * (np.diag(p[k, i]) - np.outer(p[k, i], p[k, i]))
    G = objective.ggn(theta) @ np.eye(objective.size)
    assert np.abs(G - J.T @ S @ J).max() < 1e-13 * np.abs(G).max()
    assert np.linalg.eigvalsh(G).min() > -1e-13 * np.abs(G).max()


def objective_logits(objective, theta, k):
    w = model.weights(layout(CONFIG).views(theta), CONFIG)
    return model.forward(open_engine("plain", "float64"), w, model.plan(CONFIG, objective.tokens))[0][k]


def test_hessian_is_gauss_newton_plus_residual_part_that_vanishes_with_the_residual(rng):
    """Where every pair is fitted, dL/dz = 0, so H = G, and the product with the rest alone is 0."""
    objective, theta = make("cpu", rng)
    gap = []
    for scale in (1.0, 30.0):
        views = layout(CONFIG).views(moved := theta.copy())
        for name in CONFIG.task.operations:
            views[f"heads.{name}.weight"][:] = 0
            views[f"heads.{name}.bias"][:] = 0
            views[f"heads.{name}.bias"][2] = scale  # every row predicts class 2
        same = Objective(CONFIG, objective.tokens, np.full((2, 17), 2), engine="cpu")
        v = rng.standard_normal(objective.size)
        Hv, Gv, rest = same.hvp(moved, v), same.ggn_vp(moved, v), same.rest_vp(moved, v)
        assert np.abs(Hv - Gv - rest).max() < 1e-14 * np.abs(Hv).max() + 1e-18
        gap.append(np.abs(rest).max())
    assert gap[1] < 1e-10 < gap[0]


def test_directions_at_once_are_the_directions_one_by_one(rng):
    objective, theta = make("cpu", rng)
    v = rng.standard_normal((objective.size, 3))
    for product in (objective.hvp, objective.ggn_vp, objective.rest_vp):
        block = product(theta, v)
        assert all(np.array_equal(block[:, i], product(theta, v[:, i].copy())) for i in range(3))


def test_operators_restrict_to_groups(rng):
    objective, theta = make("cpu", rng)
    mask = layout(CONFIG).group(["encoder.layers.0.*", "*.bias"])
    H = objective.hessian(theta) @ np.eye(objective.size)
    part = objective.hessian(theta, ["encoder.layers.0.*", "*.bias"])
    assert part.shape == (mask.sum(), mask.sum())
    assert np.array_equal(part @ np.eye(mask.sum()), H[np.ix_(mask, mask)])


def test_results_do_not_depend_on_what_was_asked_before(rng):
    objective, theta = make("cpu", rng)
    v, other = rng.standard_normal(objective.size), theta + 1
    first = objective.hvp(theta, v), objective.grad(theta), objective.ggn_vp(theta, v), objective.jvp(theta, v)
    objective.hvp(other, v)
    objective.jvp(theta, v)
    again = objective.hvp(theta, v), objective.grad(theta), objective.ggn_vp(theta, v), objective.jvp(theta, v)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_loaded_batch_is_as_good_as_a_new_objective(engine, rng):
    """Larger and smaller batches, other weights; nothing of the former batch is remembered."""
    objective, theta = make(engine, rng, B=5, shards=2)
    v = rng.standard_normal(objective.size)
    for B, weights in [(9, None), (1, [0.0, 1.0]), (9, [1.0, 2.0])]:
        objective.hvp(theta, v)  # fills the memo with what must not be used
        tokens, targets = rng.integers(0, 5, (B, 2)), rng.integers(0, 5, (2, B))
        objective.load(tokens, targets, weights)
        fresh = Objective(CONFIG, tokens, targets, weights, engine=engine, shards=2)
        assert np.array_equal(objective.hvp(theta, v), fresh.hvp(theta, v))
        assert np.array_equal(objective.grad(theta), fresh.grad(theta))
        assert np.array_equal(objective.jvp(theta, v), fresh.jvp(theta, v))
        assert objective.loss(theta) == fresh.loss(theta)


def test_a_batch_that_does_not_fit_leaves_the_old_one(rng):
    objective, theta = make("cpu", rng)
    before = objective.loss(theta)
    with pytest.raises(ShapeError, match="task_weights"):
        objective.load(np.zeros((3, 2)), np.zeros((2, 3)), [1.0])
    assert objective.loss(theta) == before


@pytest.mark.parametrize("B", [1, 2, 3, 8, 40])
def test_engines_and_shards_agree(B):
    """Odd sizes too: one pair, fewer pairs than shards, more and fewer rows than the table."""
    results = []
    for engine, shards in [("plain", 1), ("cpu", 1), ("cpu", 3)]:
        objective, theta = make(engine, np.random.default_rng(B), B=B, shards=shards)
        v = np.random.default_rng(1).standard_normal(objective.size)
        results.append((objective.losses(theta), objective.grad(theta), objective.hvp(theta, v)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.abs(a - b).max() < 1e-13 * np.abs(a).max()


def test_threads_do_not_change_a_bit(rng):
    one, theta = make("cpu", np.random.default_rng(0), B=64, shards=4, threads=1)
    four, _ = make("cpu", np.random.default_rng(0), B=64, shards=4, threads=4)
    v = rng.standard_normal(one.size)
    assert np.array_equal(one.grad(theta), four.grad(theta))
    assert np.array_equal(one.hvp(theta, v), four.hvp(theta, v))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_weights_give_a_non_finite_loss(bad, rng):
    for dtype in ("float32", "float64"):
        objective, theta = make("cpu", rng, dtype=dtype)
        for name in ("tok_emb.weight", "encoder.layers.1.linear1.weight", "heads.add.bias"):
            broken = theta.copy()
            layout(CONFIG).views(broken)[name].flat[3] = bad
            with np.errstate(all="ignore"):
                assert not np.isfinite(objective.losses(broken)).all()


def test_wrong_shapes_are_named(rng):
    objective, theta = make("plain", rng)
    for call in (
        lambda: objective.grad(theta[:-1]),
        lambda: objective.hvp(theta, theta[:-1]),
        lambda: Objective(CONFIG, np.zeros((3, 2)), np.zeros((1, 3))),
        lambda: Objective(CONFIG, np.full((3, 2), 5), np.zeros((2, 3))),
    ):
        with pytest.raises(ShapeError, match="required"):
            call()


def test_several_directions_fill_the_memory_they_are_given(engine, rng):
    objective, theta = make(engine, rng)
    v = rng.standard_normal((theta.size, 3))
    out = np.full(v.shape, np.nan)
    assert objective.hvp(theta, v, out) is out
    assert np.array_equal(out, np.stack([objective.hvp(theta, column) for column in v.T], axis=1))
    with pytest.raises(ShapeError, match="out of shape"):
        objective.hvp(theta, v, np.empty(theta.size))


def test_what_the_caller_does_with_the_arrays_afterwards_is_the_callers_affair(engine, rng):
    """Batch and weights are copied, whether they would have to be or not; what comes out is the caller's."""
    tokens, targets, weights = rng.integers(0, 5, (17, 2)), rng.integers(0, 5, (2, 17)), np.array([1.0, 0.5])
    objective = Objective(CONFIG, tokens, targets, weights, engine=engine, shards=1)
    theta = initial(CONFIG).astype(np.float64)
    scored = Evaluation(objective._net, tokens, targets)
    objective._net.theta[:] = theta
    before, scores = objective.loss(theta), scored.scores()
    kept = tokens.copy(), targets.copy(), weights.copy()
    tokens[:], targets[:], weights[:] = 0, 0, 7
    objective.losses(theta)[:] = 0
    objective.grad(theta)[:] = 0
    other = theta + 1
    objective.loss(other)
    assert objective.loss(theta) == before
    assert np.array_equal(scored.scores().loss, scores.loss)
    fresh = Objective(CONFIG, *kept, engine=engine, shards=1)
    assert np.array_equal(objective.grad(theta), fresh.grad(theta))


def test_a_recorded_gradient_does_not_write_into_the_callers_batch(rng):
    net = Objective(CONFIG, np.zeros((1, 2)), np.zeros((2, 1)), shards=1)._net
    first, second = ((rng.integers(0, 5, (9, 2)), rng.integers(0, 5, (2, 9))) for _ in range(2))
    kept = [each.copy() for each in first]
    for tokens, targets in (first, second):
        net.gradient(tokens, targets, np.empty(net.theta.size))
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


@pytest.mark.parametrize("groups", [None, ["heads.*"]])
@pytest.mark.parametrize("name", ["hessian", "ggn"])
def test_an_operator_gives_the_shape_that_it_is_given(name, groups, rng):
    objective, theta = make("cpu", rng)
    A = getattr(objective, name)(theta, groups)
    n = A.shape[0]
    for k in (0, 1, 3):
        V = rng.standard_normal((n, k))
        for found in (A.matmat(V), A @ V, A.rmatmat(V)):
            assert found.shape == (n, k)
            assert all(np.array_equal(found[:, j], A.matvec(V[:, j].copy())) for j in range(k))
    assert A.matvec(rng.standard_normal(n)).shape == (n,)
    assert A.matvec(rng.standard_normal((n, 1))).shape == (n, 1)


def test_a_portable_configuration_is_read_in_any_process_with_a_word(rng, monkeypatch):
    portable_one = dataclasses.replace(CONFIG, compute=dataclasses.replace(CONFIG.compute, portable=True))
    tokens, targets = rng.integers(0, 5, (3, 2)), rng.integers(0, 5, (2, 3))
    theta = initial(CONFIG).astype(np.float64)
    monkeypatch.setattr(portable, "obstacles", lambda: ["other kernels"])
    with pytest.warns(UserWarning, match="not in portable mode.*other kernels"):
        found = Objective(portable_one, tokens, targets).grad(theta)
    assert np.allclose(found, Objective(CONFIG, tokens, targets).grad(theta), rtol=1e-12)
    monkeypatch.setattr(portable, "obstacles", list)
    Objective(portable_one, tokens, targets)  # without one
