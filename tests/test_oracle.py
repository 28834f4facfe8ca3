"""The PyTorch twin itself: its products agree with differences of its gradient, whatever minigrok does."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the oracle needs PyTorch: install the extra [oracle]")
import oracle  # noqa: E402

pytestmark = pytest.mark.oracle

WEIGHTS = np.array([1.0, 0.5])
TOKENS = np.array([[1, 2], [3, 4], [4, 4], [2, 1], [3, 0]])
TARGETS = np.array([[3, 2, 3, 3, 3], [2, 2, 1, 2, 0]])
BATCH = (TOKENS, TARGETS, WEIGHTS)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return oracle.OracleModel(5, 8, 2, 12, 2, ["add", "mul"])


@pytest.fixture
def theta(model):
    """Away from the initial values, where biases are 0 and norms the identity."""
    start = oracle.flat(model).astype(np.float64)
    return start + 0.1 * np.random.default_rng(1).standard_normal(start.size)


def direction(theta, seed):
    return np.random.default_rng(seed).standard_normal(theta.size)


def close(a, b, tolerance):
    return np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)


def test_dual_model_has_the_papers_size():
    model = oracle.OracleModel(97, 128, 4, 256, 2, ["add", "mul"])
    assert oracle.flat(model).size == 302_914
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_load_and_flat_are_inverse_and_set_the_dtype(model, theta, dtype):
    theta = theta.astype(dtype)
    oracle.load(model, theta)
    np.testing.assert_array_equal(oracle.flat(model), theta, strict=True)
    assert oracle.grad(model, theta, *BATCH).dtype == dtype
    assert oracle.hvp(model, theta, theta, *BATCH).dtype == dtype
    assert oracle.ggn_vp(model, theta, theta, *BATCH).dtype == dtype
    assert oracle.train_steps(model, theta, [BATCH[:2]], WEIGHTS)[0].dtype == dtype


def test_load_does_not_share_memory(model, theta):
    before = theta.copy()
    oracle.train_steps(model, theta, [BATCH[:2]], WEIGHTS)
    np.testing.assert_array_equal(theta, before)


def test_grad_is_the_slope_of_the_loss(model, theta):
    v, h = direction(theta, 2), 1e-5
    ahead, behind = (oracle.loss(model, theta + s * h * v, *BATCH) for s in (1, -1))
    assert np.isclose(oracle.grad(model, theta, *BATCH) @ v, (ahead - behind) / (2 * h), rtol=1e-7)


def test_hvp_is_the_slope_of_grad(model, theta):
    v, h = direction(theta, 2), 1e-5
    ahead, behind = (oracle.grad(model, theta + s * h * v, *BATCH) for s in (1, -1))
    assert close(oracle.hvp(model, theta, v, *BATCH), (ahead - behind) / (2 * h), 1e-7)


def test_hvp_is_symmetric(model, theta):
    u, v = direction(theta, 2), direction(theta, 3)
    a, b = u @ oracle.hvp(model, theta, v, *BATCH), v @ oracle.hvp(model, theta, u, *BATCH)
    assert np.isclose(a, b, rtol=1e-12)


def test_jvp_is_the_slope_of_the_logits(model, theta):
    v, h = direction(theta, 2), 1e-5
    ahead, behind = (oracle.logits(model, theta + s * h * v, TOKENS) for s in (1, -1))
    assert close(oracle.jvp(model, theta, v, TOKENS), (ahead - behind) / (2 * h), 1e-7)


def test_ggn_is_the_pullback_of_the_logit_hessian(model, theta):
    """u' G v = (J u)' H_logits (J v), with H_logits from autograd, not from its formula; so G is PSD."""
    targets = torch.tensor(TARGETS)

    def head_loss(z):
        each = [torch.nn.functional.cross_entropy(a, t) for a, t in zip(z, targets, strict=True)]
        return sum(w * c for w, c in zip(WEIGHTS, each, strict=True))

    z = torch.tensor(oracle.logits(model, theta, TOKENS))
    hessian = torch.autograd.functional.hessian(head_loss, z).reshape(z.numel(), z.numel()).numpy()
    u, v = direction(theta, 2), direction(theta, 3)
    ju, jv = (oracle.jvp(model, theta, w, TOKENS).ravel() for w in (u, v))
    gv = oracle.ggn_vp(model, theta, v, *BATCH)
    assert np.isclose(u @ gv, ju @ hessian @ jv, rtol=1e-12)
    assert v @ gv > 0


def test_first_adam_step_by_hand(model, theta):
    """Step 1 of AdamW: theta (1 - lr wd) - lr g / (|g| + eps), g the gradient clipped to norm 1."""
    (after,), (value,) = oracle.train_steps(model, theta, [BATCH[:2]], WEIGHTS, lr=0.01, weight_decay=0.3)
    g = oracle.grad(model, theta, *BATCH)
    g = g * min(1, 1 / (np.linalg.norm(g) + 1e-6))
    np.testing.assert_allclose(after, theta * (1 - 0.003) - 0.01 * g / (np.abs(g) + 1e-8), rtol=0, atol=1e-7)
    assert np.isclose(value, oracle.loss(model, theta, *BATCH), rtol=1e-12)


def test_steps_are_recorded_one_by_one(model, theta):
    path, losses = oracle.train_steps(model, theta, [BATCH[:2]] * 5, WEIGHTS)
    assert path.shape == (5, theta.size)
    assert losses.shape == (5,)
    np.testing.assert_array_equal(path[:2], oracle.train_steps(model, theta, [BATCH[:2]] * 2, WEIGHTS)[0])
    assert losses[-1] < losses[0]
