"""Reconstruction on runs whose answer is known, against direct NumPy, and without a look at the future."""

import numpy as np
import pytest
from synthetic_runs import SMALL, STEPS, make, rises, walk

from minigrok.analyses.base import Work
from minigrok.analyses.reconstruction import analysis as reconstruction
from minigrok.analyses.reconstruction.conventions import last_grok, rows_of
from minigrok.analyses.reconstruction.result import AFTER, CONVENTIONS, PARTS, Track
from minigrok.analyses.reconstruction.table import points
from minigrok.analyses.shared.curves import Network
from minigrok.analyses.shared.trajectories import load
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError, RunFolderError
from minigrok.network.params import initial

CONFIG = with_settings(preset("tiny"), SMALL)
GRID = range(0, 1300, 100)
EXACT = reconstruction.Settings(draws=1, largest=8)


@pytest.fixture(scope="module")
def thetas():
    return walk(CONFIG, GRID, size=0.1)


@pytest.fixture(scope="module")
def run(tmp_path_factory, thetas):
    return make(tmp_path_factory.mktemp("runs") / "a", thetas=thetas, settings=["train.snapshot_every=100"])


def track(result, name):
    return next(each for each in result.tracks if each.name == name)


def test_paper_conventions_against_direct_numpy(run):
    """Uncentred; centred with, and without, the row of step 0: a few lines each."""
    result = reconstruction.compute([run], reconstruction.Settings("paper"), Work())
    T = np.array([run.load_snapshot(step) for step in GRID[::2]]).astype(np.float64)  # checkpoints
    delta, network = T[-1] - T[0], Network(run, "paper")
    X = T - T[0]
    rows = {
        "uncentred": X[1:],
        "centred, init row kept": X - X.mean(axis=0),
        "centred, init row dropped": X[1:] - X[1:].mean(axis=0),
    }
    for name, each in rows.items():
        found = track(result, name)
        V = np.linalg.svd(each, full_matrices=False)[2]
        for i, k in enumerate(found.ks[:5]):
            inside = V[:k] @ delta
            assert found.outside[i] == pytest.approx(1 - inside @ inside / (delta @ delta))
            assert np.array_equal(found.test[i], network.accuracies(T[0] + V[:k].T @ inside)[1])
    assert {each.name for each in result.tracks} == {*rows, "random directions"}
    assert list(track(result, "random directions").ks) == [1, 2, 5, 10, 20]


def test_all_components_rebuild_the_final_network(run):
    result = reconstruction.compute([run], reconstruction.Settings(draws=1), Work())
    for name in ("uncentred", "decay removed", "theta itself", "walk bridge", "decay bridge"):
        found = track(result, name)
        assert found.ks[-1] == len(GRID) - 1
        assert found.outside[-1] == pytest.approx(0, abs=1e-10)
        assert np.array_equal(found.test[-1], result.final_test)
    assert track(result, "random directions").outside[-1] > 0.9
    assert track(result, "centred, init row dropped").outside[-1] > 1e-4  # the mean row is gone


def test_hold_out_never_sees_the_future(tmp_path, run, thetas):
    held = [name for name in CONVENTIONS if name.startswith("held out")]
    other = {step: theta + 3 * (600 < step < 1200 and step * 10 > 9 * 1200) for step, theta in thetas.items()}
    assert [step for step in GRID if not np.array_equal(other[step], thetas[step])] == [1100]
    changed = make(tmp_path / "b", thetas=other, settings=["train.snapshot_every=100"])
    a, b = (reconstruction.compute([each], EXACT, Work()) for each in (run, changed))
    for name in held:
        assert np.array_equal(track(a, name).outside, track(b, name).outside)
        assert np.array_equal(track(a, name).test, track(b, name).test)
    assert not np.allclose(track(a, "uncentred").outside, track(b, "uncentred").outside)
    final = {**thetas, 1200: thetas[1200] + 3}  # the network to rebuild: directions stay, shares do not
    c = reconstruction.compute(
        [make(tmp_path / "c", thetas=final, settings=["train.snapshot_every=100"])], EXACT, Work()
    )
    assert np.array_equal(track(a, held[0]).shares, track(c, held[0]).shares)
    assert not np.array_equal(track(a, held[0]).outside, track(c, held[0]).outside)


def test_pure_decay_is_known_without_a_fit(tmp_path):
    """Weights that only decay: nothing is left to rebuild once decay is removed, and token 0 is as it should be."""
    theta, o = initial(CONFIG).astype(np.float64), CONFIG.optimiser
    kept = 1 - o.learning_rate * o.weight_decay
    decaying = {step: theta * kept**step for step in GRID}
    run = make(tmp_path / "a", thetas=decaying)
    result = reconstruction.compute([run], reconstruction.Settings(parts=("uncentred", "theta itself")), Work())
    assert result.token0 == pytest.approx(0, abs=1e-12)
    assert result.cosine == pytest.approx(1)
    assert track(result, "uncentred").outside[0] == pytest.approx(0, abs=1e-10)  # PC 1 is the decay
    rows = rows_of(run, "decay removed", np.array(GRID), load(run, GRID, slice(0, len(theta))), theta)
    assert np.abs(rows.X).max() < 1e-12
    broken = dict(decaying)
    broken[1200] = decaying[1200] + 0.01
    wrong = make(tmp_path / "b", thetas=broken)
    assert reconstruction.compute([wrong], EXACT, Work()).token0 > 1e-3


def test_post_grok_needs_snapshots_after_the_last_grok(tmp_path, thetas):
    both = reconstruction.Settings(parts=AFTER, largest=8)
    early = make(tmp_path / "early", [rises(2), rises(3)], thetas=thetas)
    assert last_grok(early) == STEPS[5]
    result = reconstruction.compute([early], both, Work())
    assert result.after == len([step for step in GRID if step > STEPS[5]]) >= 5
    assert track(result, "post-grok, from the grok").outside[-1] == pytest.approx(0, abs=1e-10)
    for name, at in (("late", 8), ("never", None)):
        late = make(tmp_path / name, [rises(2), rises(at)], thetas=thetas)
        with pytest.raises(RunFolderError, match="after the last grok") as error:
            reconstruction.compute([late], both, Work())
        assert "--after-grok" in error.value.do
        names = {each.name for each in reconstruction.compute([late], EXACT, Work()).tracks}
        assert not names & set(AFTER)  # not asked for by name: left out


def test_table_and_points_hold_the_whole_curves(run):
    result = reconstruction.compute([run], EXACT, Work())
    rows = {row["convention"]: row for row in reconstruction.table(result)}
    assert set(rows) == set(PARTS) - set(AFTER)
    assert rows["uncentred"]["rows"] == len(GRID) - 1
    assert len(points(result)) == sum(len(each.ks) for each in result.tracks)
    assert rows["held out, first 50 %"]["rows"] == 6


def test_k_star_of_a_curve_that_is_not_monotone():
    test = np.array([[0.1, 0.2], [0.95, 0.92], [0.95, 0.6], [0.99, 0.99]])
    found = Track("x", 4, np.ones(4), np.arange(1, 5), test[::-1], test, np.ones(4))
    assert (found.crossing("test"), found.crossing("test", True)) == (2, 4)
    assert (found.crossing("train"), found.crossing("train", True)) == (1, None)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: reconstruction.Settings(parts=("uncentered",)),
        lambda: reconstruction.Settings("paper", parts=("uncentred", "theta itself")),  # the paper has no such curve
        lambda: reconstruction.Settings(largest=0),
        lambda: reconstruction.Settings(most=3),
    ],
)
def test_settings_that_cannot_be_are_refused(broken):
    with pytest.raises(ConfigError):
        broken()


def test_too_few_rows(tmp_path):
    run = make(tmp_path / "a", thetas=walk(CONFIG, [0, 100, 200]))
    with pytest.raises(RunFolderError, match="at least 3 rows"):
        reconstruction.compute([run], EXACT, Work())
