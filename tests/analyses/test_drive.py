"""The parts of a move, on runs whose every step is known."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses import drive
from minigrok.analyses.base import Work
from minigrok.analyses.subspace.measure import adam_update
from minigrok.config import preset, with_settings
from minigrok.errors import RunFolderError
from minigrok.training.trainer import Trainer

CONFIG = with_settings(preset("tiny"), SMALL)
DECAY = "optimiser.weight_decay=10"
RATE = with_settings(CONFIG, [DECAY]).optimiser.decay_rate


@pytest.fixture(scope="module")
def every_step():
    """Weights at each of 40 steps, float64, and what AdamW says that it added at each."""
    trainer = Trainer(with_settings(CONFIG, ["compute.dtype=float64"]))
    path, updates = [trainer.theta.copy()], []
    for _ in range(40):
        trainer.step()
        path.append(trainer.theta.copy())
        updates.append(adam_update(trainer))
    return trainer.config.optimiser.decay_rate, np.array(path), np.array(updates)


def test_two_snapshots_give_what_adamw_added_at_the_steps_between(every_step):
    rate, path, updates = every_step
    found = drive.parts(path[::10], np.full(4, (1 - rate) ** 10))
    later = (1 - rate) ** np.arange(9, -1, -1)
    for i, a in enumerate(found.adaptive):
        assert a == pytest.approx(later @ updates[10 * i : 10 * i + 10], abs=1e-12)
    assert found.move == pytest.approx(np.diff(path[::10], axis=0), abs=1e-14)


def test_a_wrong_decay_rate_is_not_what_adamw_added(every_step):
    rate, path, updates = every_step
    found = drive.parts(path[::10], np.full(4, (1 - 2 * rate) ** 10))
    later = (1 - rate) ** np.arange(9, -1, -1)
    assert np.abs(found.adaptive[0] - later @ updates[:10]).max() > 1e-6


def test_the_decay_of_every_step_counts_once(every_step):
    rate, path, updates = every_step
    each = drive.parts(path, np.full(40, 1 - rate))
    assert each.adaptive == pytest.approx(updates, abs=1e-13)
    assert each.decay.sum(axis=0) == pytest.approx(-rate * path[:-1].sum(axis=0))


@pytest.mark.parametrize(
    ("a", "d", "share", "cosine"), [(1, 0, 0, None), (0, 1, 1, None), (1, 1, 0.5, 1), (2, -1, -1, -1)]
)
def test_shares_of_planted_parts(a, d, share, cosine):
    x = np.ones((5, 3))
    found = drive.shares(drive.Parts(a * x, d * x))
    assert (found.decay, found.net) == (pytest.approx(share), pytest.approx(share))
    assert np.isnan(found.cosine) if cosine is None else found.cosine == pytest.approx(cosine)


def test_parts_that_cancel_have_no_share_and_directions_that_turn_no_net_one():
    x = np.ones((5, 3))
    assert np.isnan(drive.shares(drive.Parts(x, -x))[:2]).all()
    assert np.isnan(drive.shares(drive.Parts(x, x), is_fixed=False).net)


def found(folder, thetas, test=(), train=None, **changes):
    run = make(folder, test, train, thetas=thetas, settings=[DECAY])
    return drive.compute([run], drive.Settings(**changes), Work())


def test_weights_that_only_decay_are_moved_by_decay_and_nothing_else(tmp_path):
    theta = walk(CONFIG, [0])[0].astype(np.float64)
    path = {step: (1 - RATE) ** step * theta for step in range(0, 2100, 100)}
    result = found(tmp_path / "a", path, [rises(5)] * 2, window=3)
    for each in result.stages:
        if each.directions in ("PC1", "theta"):
            assert each.shares[0] == pytest.approx(1)
            assert each.held[2] == pytest.approx(1)


def test_a_walk_without_decay_is_adaptive_and_its_random_directions_hold_what_chance_gives(tmp_path):
    run = make(
        tmp_path / "a", [rises(5)] * 2, thetas=walk(CONFIG, range(0, 2100, 100)), settings=["optimiser.weight_decay=0"]
    )
    result = drive.compute([run], drive.Settings(window=3, draws=400), Work())
    for each in result.stages:
        assert each.shares[0] == pytest.approx(0)
        assert np.isnan(each.shares[2])
        if each.directions == "theta":
            assert each.held_random[:, 2].mean() == pytest.approx(1 / run.layout.size, rel=0.2)


def test_coordinates_of_the_gram_matrix_are_those_of_the_vectors(tmp_path):
    steps = range(0, 2100, 100)
    thetas = walk(CONFIG, steps)
    result = found(tmp_path / "a", thetas, [rises(5)] * 2, window=3)
    keep = (1 - RATE) ** 100
    for i, step in enumerate(list(steps)[:-1]):
        x, y = thetas[step].astype(np.float64), thetas[step + 100].astype(np.float64)
        unit = x / np.linalg.norm(x)
        known = [(y - keep * x) @ unit, (keep - 1) * (x @ unit), (y - x) @ unit]
        assert result.sizes["theta"][i] == pytest.approx(np.abs(known), abs=1e-9)


def test_stages_meet_where_every_task_is_memorised(tmp_path):
    result = found(tmp_path / "a", walk(CONFIG, range(0, 2100, 100)), [rises(5)] * 2, [rises(4), rises(8)], window=3)
    of_pc1 = [(each.stage, each.first, each.last) for each in result.stages if each.directions == "PC1"]
    assert result.memorised == 800
    assert of_pc1 == [("to memorised", 0, 800), ("from memorised", 800, 2000), ("whole", 0, 2000)]
    assert next(each.first for each in result.stages if each.directions == "updates") == 300
    assert len(drive.table(result)) == 12
    assert len(drive.figure(result).axes) == 8


def test_a_run_whose_decay_is_intervened_is_refused(tmp_path):
    arm = next(name for name, each in drive.ARMS.items() if each.target == "decay")
    settings = [f"intervention.arm={arm}", "intervention.dose=0.5", "intervention.source=../b"]
    run = make(tmp_path / "a", [rises(5)] * 2, thetas=walk(CONFIG, [0, 100, 200]), settings=settings)
    with pytest.raises(RunFolderError, match="decay"):
        drive.compute([run], drive.Settings(), Work())
