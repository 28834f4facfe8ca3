"""Shares and angles of the execution manifold on runs whose answer is known, and on a real one."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, walk

from minigrok.analyses.base import Work
from minigrok.analyses.subspace import analysis as analysis
from minigrok.analyses.subspace.analysis import other_seed
from minigrok.analyses.subspace.measure import Measurement
from minigrok.analyses.subspace.result import VECTORS, Track
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError, RunFolderError
from minigrok.geometry import subspace
from minigrok.network.params import initial
from minigrok.storage import runs
from minigrok.training.train import train

QUICK = analysis.Settings(most=3, draws=100, full=4)
EXACT = analysis.Settings(most=3, draws=100, full=4, warm=10_000)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two seeds of a real run of 80 steps, a snapshot every 10."""
    found = []
    for seed in (1, 2):
        settings = [*SMALL, f"seed={seed}", "train.max_steps=80", "train.snapshot_every=10", "train.batch_size=16"]
        folder = tmp_path_factory.mktemp("runs") / f"s{seed}"
        with runs.create(folder, with_settings(preset("tiny"), settings)) as run:
            train(run, 1)
        found.append(run)
    return found


def test_replay_from_the_start_is_the_run_to_the_bit(trained):
    (track,) = analysis.compute(trained[:1], EXACT, Work()).tracks
    assert track.replay.tolist() == [0.0] * len(track.steps)
    (near,) = analysis.compute(trained[:1], analysis.Settings(most=3, draws=100, warm=10), Work()).tracks
    assert (near.replay[1:] > 0).any()


def test_update_is_what_the_optimiser_added(trained):
    """One step between snapshots: the next move is the step that AdamW made."""
    config = with_settings(trained[0].config, ["train.snapshot_every=1", "train.max_steps=6"])
    folder = trained[0].folder.parent / "every"
    with runs.create(folder, config) as run:
        train(run, 1)
    measurement = Measurement(run, {}, EXACT, Work(), "x")
    (gradient, update, step, move), off = measurement._vectors(4)
    s = config.optimiser
    theta = run.load_snapshot(4).astype(np.float64)
    assert off == 0
    assert step == pytest.approx(move, abs=1e-6 * np.abs(theta).max())
    assert np.linalg.norm(step - update + s.learning_rate * s.weight_decay * theta) < 1e-12
    assert gradient @ update < 0


def test_past_bases_do_not_know_the_future(tmp_path, trained):
    thetas = {step: trained[0].load_snapshot(step) for step in trained[0].snapshots()}
    settings = [*SMALL, "seed=1", "train.batch_size=16"]
    honest = make(tmp_path / "a", settings=settings, thetas=thetas)
    other = dict(thetas)
    other[80] = thetas[80] + 5 * np.random.default_rng(0).standard_normal(thetas[80].size).astype(np.float32)
    changed = make(tmp_path / "b", settings=settings, thetas=other)
    (a,), (b,) = (analysis.compute([run], QUICK, Work()).tracks for run in (honest, changed))
    early = a.steps < 80
    for kind in ("attention, past", "full, past"):
        assert np.array_equal(a.shares[kind][early, :3], b.shares[kind][early, :3])
    assert not np.allclose(a.shares["full, run"][early, :3, 0], b.shares["full, run"][early, :3, 0])


def test_a_straight_line_keeps_to_its_span_and_its_update_does_not(tmp_path):
    config = with_settings(preset("tiny"), SMALL)
    theta, direction = initial(config), np.random.default_rng(0).standard_normal(initial(config).size)
    run = make(tmp_path / "a", thetas={100 * i: theta + 0.01 * i * direction for i in range(8)})
    (track,) = analysis.compute([run], QUICK, Work()).tracks
    move = VECTORS.index("next move")
    assert track.shares["full, past"][:-1, move, 0] == pytest.approx(1)
    assert np.isnan(track.shares["full, past"][-1, move]).all()  # no next snapshot
    assert (track.shares["full, past"][:, VECTORS.index("gradient"), 0] < 0.1).all()
    assert {each.between: each.overlap for each in track.angles if each.basis == "full"} == pytest.approx(
        {"first half and run": 1, "first and second half": 1}
    )


def test_other_seed_is_the_next_run_that_fits(trained, tmp_path):
    alone = analysis.compute(trained[:1], QUICK, Work()).tracks[0]
    assert alone.says == "no other seed: give a second run"
    assert not any("other" in kind for kind in alone.shares)
    both = analysis.compute(trained, QUICK, Work()).tracks
    assert [track.says for track in both] == ["other seed: s2", "other seed: s1"]
    assert {each.between for each in both[0].angles} >= {"this and other seed"}
    assert np.array_equal(both[0].shares["full, run"], alone.shares["full, run"], equal_nan=True)
    wide = make(tmp_path / "wide", settings=["model.width=16", "seed=5"])
    assert other_seed([trained[0], wide, trained[1]], 0) == 2
    assert other_seed([trained[0], wide, trained[0]], 0) is None
    fast = make(
        tmp_path / "fast",
        settings=["optimiser.learning_rate=0.1", "seed=5"],
        thetas=walk(with_settings(preset("tiny"), SMALL), range(0, 300, 100)),
    )
    assert other_seed([trained[0], fast], 0) is None  # of another condition


def test_random_subspaces_of_a_random_walk_are_chance(tmp_path):
    config = with_settings(preset("tiny"), SMALL)
    each = [walk(config, range(0, 800, 100), seed=i) for i in (0, 1)]
    pair = [make(tmp_path / str(i), settings=[f"seed={i}"], thetas=t) for i, t in enumerate(each)]
    for comparison in analysis.compute(pair, QUICK, Work()).tracks[0].angles:
        if comparison.between == "this and other seed":
            mean, low, high = comparison.overlap_random
            assert mean - 2 * (high - low) < comparison.overlap < mean + 2 * (high - low)


def test_every_band_has_its_draws_beside_it_and_every_median_its_checkpoints(trained):
    rows = analysis.table(analysis.compute(trained[:1], QUICK, Work()))
    assert {(row["draws"], row["covers"]) for row in rows} == {(100, 1 - 4 / 101)}
    counts = {row["of"]: row["checkpoints"] for row in rows if row["basis"] == "full, run"}
    assert counts["gradient"] == counts["next move"] + 1 == 3  # there is no next move at the last one


def test_share_and_leakage_add_up_and_paper_adds_rho(trained):
    rows = analysis.table(analysis.compute(trained[:1], QUICK, Work()))
    shares = [row for row in rows if row["energy"] is not None]
    assert all(row["energy"] + row["leakage"] == pytest.approx(1) for row in shares)
    assert all(row["norm"] ** 2 == pytest.approx(row["energy"]) for row in shares)
    result = analysis.compute(trained[:1], analysis.Settings("paper", most=3), Work())
    assert set(result.tracks[0].shares) == {"attention, run", "full, run"}
    assert all(row["rho"] ** 2 == pytest.approx(row["leakage"]) for row in analysis.table(result))


def test_an_energy_above_1_by_rounding_has_rho_0():
    shares = {"full, run": np.full((1, 4, 5), 1 + 1e-15)}
    track = Track("a", "", np.array([1]), 9, shares, {"full, run": np.array([9])}, np.zeros(1), [])
    assert [row["rho"] for row in analysis.table(analysis.Result("paper", 100, [track]))] == [0.0] * 4


def test_too_few(tmp_path):
    run = make(tmp_path / "a", thetas=walk(with_settings(preset("tiny"), SMALL), [0, 100]))
    with pytest.raises(RunFolderError, match="at least 3 snapshots"):
        analysis.compute([run], QUICK, Work())
    with pytest.raises(ConfigError, match="between 39 and 100,000"):
        analysis.Settings(draws=5)


def test_gram_without_the_decay_needs_no_copy():
    X = np.random.default_rng(0).standard_normal((5, 40))
    kept = np.array([1, 0.9, 0.8, 0.7, 0.6])
    free = X - np.outer(kept, X[0])
    assert subspace.gram(X, kept) == pytest.approx(free @ free.T)
