"""Loss, gradient and all products on the device, and R networks in one pass, against the plain engine."""

import numpy as np
import pytest

from minigrok.config import Config, Model, Task
from minigrok.engine import Engine
from minigrok.engine.cuda import CudaEngine
from minigrok.network.fleet import Fleet
from minigrok.network.objective import Objective
from minigrok.network.params import initial, layout
from minigrok.network.sharded import Sharded


def config_of(blocks):
    return Config("small", task=Task(p=5, exclude_zero=False), model=Model(4, 2, 5, blocks))


def batch_of(B, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 5, (B, 2)), rng.integers(0, 5, (2, B))


def theta_of(config, seed=0):
    return initial(config).astype(np.float64) + 0.3 * np.random.default_rng(seed).standard_normal(layout(config).size)


# B = 6 >= p: the first block runs on the table; with one block its queries are selected from it.
@pytest.mark.parametrize(("blocks", "B"), [(2, 3), (1, 6)])
def test_everything_that_an_objective_gives(blocks, B):
    config, rng = config_of(blocks), np.random.default_rng(1)
    theta = theta_of(config)
    V, weights = rng.standard_normal((theta.size, 2)), np.array([1.0, 0.5])
    found = []
    for engine in ("plain", "cuda"):
        objective = Objective(config, *batch_of(B), weights, engine=engine, shards=1)
        block = objective.hessian(theta, ["encoder.*.norm?.weight", "heads.add.*"])
        found.append(
            {
                "loss": objective.losses(theta),
                "grad": objective.grad(theta),
                "hvp": objective.hvp(theta, V),
                "hvp of a block": block @ V[: block.shape[1], 0],
                "ggn_vp": objective.ggn_vp(theta, V[:, 0]),
                "rest_vp": objective.rest_vp(theta, V[:, 0]),
                "jvp": objective.jvp(theta, V[:, 0]),
            }
        )
    for name, exact in found[0].items():
        assert np.abs(found[1][name] - exact).max() < 1e-13 * np.abs(exact).max(), name


def test_the_hessian_is_symmetric_and_float32_keeps_to_float64():
    config, rng = config_of(1), np.random.default_rng(2)
    theta, exact = theta_of(config), Objective(config, *batch_of(4), engine="plain", shards=1)
    a, b = rng.standard_normal((2, theta.size))
    single = Objective(config, *batch_of(4), engine="cuda", dtype="float32")
    Ha, Hb = single.hvp(theta, a), single.hvp(theta, b)
    assert Ha.dtype == np.float32
    assert abs(a @ Hb - b @ Ha) < 1e-5 * np.abs(a * Hb).sum()
    assert np.abs(Ha - exact.hvp(theta, a)).max() < 1e-5 * np.abs(Ha).max()
    assert np.abs(single.hvp(theta + 0.1, a) - Ha).max() > 1e-3 * np.abs(Ha).max(), "another theta is another point"


def test_replicas_have_their_own_parameters_and_batches():
    config = config_of(2)
    thetas, batches = [theta_of(config, s) for s in (0, 1)], [batch_of(6, s) for s in (0, 1)]
    fleet = Fleet(config, "float64", 2)
    fleet.theta[:] = np.stack(thetas)
    fleet.load_each(*zip(*batches, strict=True))
    fleet.forward()
    fleet._backward(0, True)
    gradients = fleet.gradients.host()
    for r in range(2):
        net = Sharded(config, "plain", "float64", 1)
        net.theta[:] = thetas[r]
        net.load(*batches[r])
        alone = np.empty_like(net.theta)
        np.testing.assert_allclose(fleet.losses()[r], net.forward(), rtol=1e-14)
        net.backward(alone)
        assert np.abs(gradients[r] - alone).max() < 1e-14 * np.abs(alone).max() * 100
    assert np.abs(gradients[0] - gradients[1]).max() > 0.01


def test_nothing_reads_what_the_memory_of_the_device_holds(monkeypatch):
    def products():
        objective = Objective(config_of(1), *batch_of(6), engine="cuda")
        theta = theta_of(config_of(1))
        return objective.hvp(theta, theta), objective.ggn_vp(theta, theta)

    def poisoned(self, *shape):
        array = Engine.empty(self, *shape)
        array[:] = np.nan
        return array

    clean = products()
    monkeypatch.setattr(CudaEngine, "empty", poisoned)
    for a, b in zip(products(), clean, strict=True):
        assert np.array_equal(a, b)
