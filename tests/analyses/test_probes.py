"""Batches and losses of two independent draws."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, rises

from minigrok.analyses.base import Cost
from minigrok.analyses.shared.cost import host, measured_seconds
from minigrok.analyses.shared.probes import Probe, modes
from minigrok.config import preset, with_settings
from minigrok.network.objective import Objective
from minigrok.network.params import initial
from minigrok.tasks import pairs

CONFIG = with_settings(preset("tiny"), SMALL)


@pytest.fixture
def run(tmp_path):
    return make(tmp_path / "a", [rises(13), rises(15)], thetas={0: initial(CONFIG)})


def test_modes_of_one_two_and_three_tasks():
    assert [m.name for m in modes(("add",))] == ["total"]
    assert [m.name for m in modes(("add", "mul"))] == ["total", "add, mul", "add, add", "mul, mul"]
    assert [m.name for m in modes(("add", "mul", "sq"), same=False)] == ["total", "add, mul", "add, sq", "mul, sq"]
    cross = modes(("add", "mul"))[1]
    assert (cross.a.tolist(), cross.b.tolist()) == ([1, 0], [0, 1])


def test_batches_are_train_pairs_with_replacement_and_the_same_in_both_precisions(run):
    both = [Probe(run, dtype).draw(np.random.default_rng(3)) for dtype in ("float32", "float64")]
    assert np.array_equal(both[0], both[1])
    a, b = both[0]
    assert a.shape == b.shape == (CONFIG.train.batch_size,)
    assert not np.array_equal(a, b)
    n = len(pairs(CONFIG.task, CONFIG.seed).train)
    assert a.max() < n < len(a)  # more draws than pairs: some come twice
    assert len(np.unique(np.concatenate([a, b]))) == n


def test_a_mode_takes_its_task_alone(run):
    probe, theta = Probe(run, "float64"), initial(CONFIG).astype(np.float64)
    rows = probe.draw(np.random.default_rng(4))
    data, grads = pairs(CONFIG.task, CONFIG.seed), {}
    for mode in modes(CONFIG.task.operations):
        probe.load(rows, mode)
        grads[mode.name] = probe.a.grad(theta).copy(), probe.b.grad(theta).copy()
    assert np.allclose(grads["add, add"][0] + grads["mul, mul"][0], grads["total"][0], atol=1e-14)
    assert np.array_equal(grads["add, mul"][1], grads["mul, mul"][1])
    train = data.train[rows[0]]
    direct = Objective(CONFIG, data.tokens[train], data.targets[:, train]).grad(theta)
    assert np.allclose(grads["total"][0], direct, atol=1e-14)


def test_float32_probes_collapse_as_pytorch_does_and_float64_ones_do_not(run):
    """Heads' biases of 200 on the true class: float32 sees probability 1, so the gradient is exactly 0."""
    settings = ['task.operations=["add"]']
    theta = initial(with_settings(preset("tiny"), [*SMALL, *settings]))
    one = make(run.folder.parent / "one", [rises(5)], settings=settings, thetas={0: theta})
    bias = next(name for name in one.layout.names if name.startswith("heads") and name.endswith("bias"))
    theta[one.layout.slices[bias]] = [200, 0, 0, 0, 0, 0, 0]
    norms = {}
    for dtype in ("float32", "float64"):
        probe = Probe(one, dtype)
        zero = np.flatnonzero(probe.targets[0] == 0)[:1]
        rows = np.repeat(zero, probe.batch_size)
        probe.load((rows, rows))
        norms[dtype] = np.linalg.norm(probe.a.grad(theta.astype(dtype)).astype(np.float64))
    assert norms["float32"] == 0
    assert 0 < norms["float64"] < 1e-60


def test_seconds_and_words(run):
    assert min(measured_seconds(run)) > 0
    assert host(10.0) == 10 * host(1.0) > 0
    assert str(Cost(40.2, "one thing")) == "one thing: about 40 s"
