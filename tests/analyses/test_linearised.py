"""The linearised network, against the network and its Taylor expansion."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses import linearised
from minigrok.analyses.base import Work
from minigrok.analyses.shared.activations import Activations, read_by_heads
from minigrok.config import preset, with_settings
from minigrok.network.objective import Objective
from minigrok.network.params import initial, layout
from minigrok.tasks import pairs

CONFIG = with_settings(preset("tiny"), SMALL)


@pytest.fixture
def point(tmp_path):
    """A run, its objective on train pairs, initial parameters and a random direction of length 1."""
    run = make(tmp_path / "a")
    theta = initial(run.config).astype(np.float64)
    v = np.random.default_rng(0).standard_normal(theta.size)
    return run, Objective.of(run), theta, v / np.linalg.norm(v)


def test_logits_by_the_heads_own_derivative_are_those_of_the_forward_pass(point):
    run, objective, theta, _ = point
    data = pairs(run.config.task, run.config.seed)
    activations, views = Activations(run, data.of(data.train)[0]), run.layout.views(theta)
    Z = activations(theta, read_by_heads)["z"]
    found = linearised.logits(objective, run.layout, theta)
    for task, z in zip(run.config.task.operations, found, strict=True):
        assert z == pytest.approx(Z @ views[f"heads.{task}.weight"].T + views[f"heads.{task}.bias"], abs=1e-12)


def slope(point, wrong=1.0):
    """Slope of log |f_s - f| against log h along a direction."""
    run, objective, theta, v = point
    start, errors, sizes = linearised.logits(objective, run.layout, theta), [], [0.02, 0.01, 0.005, 0.0025]
    for h in sizes:
        linear = linearised.linearised(start, objective, theta, theta + wrong * h * v)
        errors.append(np.linalg.norm(linear - linearised.logits(objective, run.layout, theta + h * v)))
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def test_the_error_of_small_steps_is_of_second_order(point):
    assert slope(point) == pytest.approx(2, abs=0.1)


def test_a_wrong_derivative_is_of_first_order(point):
    assert slope(point, wrong=1.1) == pytest.approx(1, abs=0.2)


def test_scores_are_those_of_the_objective(point):
    run, objective, theta, _ = point
    data = pairs(run.config.task, run.config.seed)
    targets = data.of(data.train)[1]
    z = linearised.logits(objective, run.layout, theta)
    found = linearised.scores(z, targets)
    assert found.loss == pytest.approx(objective.losses(theta), rel=1e-12)
    assert found.accuracy == pytest.approx((z.argmax(axis=2) == targets).mean(axis=1))


def test_a_run_that_moves_its_heads_alone_is_lazy(tmp_path):
    theta = initial(CONFIG).astype(np.float64)
    heads = layout(CONFIG).group(["heads.*"])
    move = np.where(heads, np.random.default_rng(1).standard_normal(theta.size), 0.0)
    thetas = {step: theta + step / 1000 * move for step in range(0, 2100, 500)}
    run = make(tmp_path / "a", [rises(5)] * 2, thetas=thetas)
    result = linearised.compute([run], linearised.Settings(), Work())
    for track in result.tracks:
        assert track.loss == pytest.approx(track.true_loss, rel=1e-10)
        assert track.accuracy == pytest.approx(track.true_accuracy)
        assert np.nanmax(track.error) < 1e-12


def test_a_run_that_moves_far_is_not(tmp_path):
    run = make(tmp_path / "a", [rises(5)] * 2, thetas=walk(CONFIG, range(0, 2100, 500), size=0.3))
    result = linearised.compute([run], linearised.Settings(), Work())
    assert min(track.error[-1] for track in result.tracks) > 0.3
    assert all(np.isnan(track.error[0]) for track in result.tracks)
    assert all(track.accuracy[0] == pytest.approx(track.true_accuracy[0]) for track in result.tracks)
    assert len(linearised.table(result)) == len(result.tracks) * 2
    assert len(linearised.figure(result).axes) == 4


def test_anchors_are_the_start_the_memorised_step_and_equal_distances_from_there():
    steps = list(range(0, 1300, 100))
    assert linearised.anchors(steps, 300, 4) == [0, 300, 600, 900]
    assert linearised.anchors(steps, None, 4) == [0, 300, 600, 900]
    assert linearised.anchors(steps, 1200, 2) == [0, 1100]
    assert linearised.anchors(steps, 300, 1) == [0]
