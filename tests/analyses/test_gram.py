"""Rolling spectra of updates: known motions, the missing control, logs with gaps."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses import gram
from minigrok.analyses.base import Work
from minigrok.analyses.perform import perform
from minigrok.config import preset, with_settings
from minigrok.errors import RunFolderError
from minigrok.geometry import updates

Settings = gram.Settings
GRID = range(0, 2001, 100)
CONFIG = with_settings(preset("tiny"), SMALL)


def scored(U, width=10):
    """Windows of the updates U (T, n)."""
    W = np.vstack([np.zeros(U.shape[1]), np.cumsum(U, axis=0)])
    _, starts = updates.contiguous(np.arange(len(W)), width)
    return updates.score(updates.gram(W), starts, width)


def test_scores_are_those_of_the_singular_values():
    U = np.random.default_rng(0).standard_normal((14, 40)) * np.linspace(1, 3, 14)[:, None]
    found = scored(U)
    for i in range(5):
        S = np.linalg.svd(U[i : i + 10], compute_uv=False)
        scores = S[:-1] / S.sum() * S[:-1] / S[1:]
        k = int(np.argmax(scores))
        assert found.g23[i] == pytest.approx(S[1] ** 2 - S[2] ** 2)
        assert found.share[i] == pytest.approx((S[1] ** 2 - S[2] ** 2) / (S**2).sum())
        assert (found.k[i], found.R[i]) == (k + 1, pytest.approx(S[k] / S[k + 1]))


def test_motion_in_a_line_and_no_motion():
    line = scored(np.ones((12, 1)) * np.random.default_rng(0).standard_normal(50))
    assert np.allclose(line.share, 0, atol=1e-12)
    assert np.isinf(line.R).all()
    assert (line.k == 1).all()
    still = scored(np.zeros((12, 50)))
    assert np.isnan(still.R).all()
    assert np.isnan(still.share).all()


def test_orthogonal_updates_have_the_sorted_lengths_as_singular_values():
    lengths = np.array([3.0, 1, 1, 2, 1, 1, 1, 1, 1, 1])
    found = scored(np.diag(lengths))
    assert found.g23[0] == pytest.approx(4 - 1)
    assert found.share[0] == pytest.approx(3 / (9 + 4 + 8))


def test_a_gap_in_the_log_leaves_no_window_across_it():
    steps = np.array([*range(0, 500, 100), *range(2000, 2500, 100), 2437])
    usual, starts = updates.contiguous(np.sort(steps), 3)
    assert usual.sum() == 8
    assert starts.tolist() == [0, 1, 5, 6]


def test_random_walk_lies_in_its_own_band():
    U = np.random.default_rng(1).standard_normal((40, 5000)) * np.linspace(1, 2, 40)[:, None]
    G = U @ U.T
    _, starts = updates.contiguous(np.arange(41), 10)
    null = [
        updates.score(updates.walk_gram(np.sqrt(np.diag(G)), 5000, np.random.default_rng(i)), starts, 10)
        for i in range(100)
    ]
    low, high = np.quantile([each.R for each in null], [0.005, 0.995], axis=0)
    R = updates.score(G, starts, 10).R
    assert np.mean((R >= low) & (R <= high)) > 0.9


def test_decline_is_at_least_one_whatever_moves():
    rng = np.random.default_rng(2)
    for _ in range(20):
        assert updates.decline(scored(rng.standard_normal((30, 200))).g23) >= 1


@pytest.fixture
def runs(tmp_path):
    """One run that groks at step 1500 and one that never does, with the very same weights at the same steps."""
    thetas = walk(CONFIG, GRID, size=0.02)
    groks = make(tmp_path / "groks", [rises(15), rises(12)], thetas=thetas, settings=["name=a"])
    never = make(tmp_path / "never", [rises(15), rises(None)], thetas=thetas, settings=["name=b"])
    return groks, never


def rows_of(runs, **settings):
    return {r["run"]: r for r in gram.table(gram.compute(runs, Settings(draws=40, **settings), Work()))}


def test_control_is_scored_at_the_matched_step(runs):
    rows = rows_of(runs)
    assert (rows["groks"]["groks"], rows["never"]["groks"]) == (1500, None)
    assert rows["never"]["scored"] == 1500
    assert rows["groks"]["decline"] == rows["never"]["decline"] >= 1  # same weights, same decline


def test_paper_protocol_never_scores_a_control(runs):
    rows = rows_of(runs, protocol="paper")
    assert rows["never"]["decline"] is None
    assert "the paper computes nothing" in rows["never"]["says"]
    assert rows["groks"]["decline"] >= 1


def test_matched_step_from_the_settings(runs):
    row = rows_of(runs[1:], matched_step=1200)["never"]
    assert (row["scored"], row["windows"]) == (1200, 3)
    assert rows_of(runs[1:], matched_step=9000)["never"]["scored"] == 2000
    assert "add a run that groks" in rows_of(runs[1:])["never"]["says"]
    assert "fewer than two windows" in rows_of(runs[1:], matched_step=1000)["never"]["says"]


def test_a_random_walk_run_is_not_told_from_its_nulls(runs):
    row = rows_of(runs)["groks"]
    assert row["p order"] > 0.05
    assert row["R"] < 1.05 * row["walk R high"]


def test_last_snapshot_off_the_grid_is_left_out(tmp_path):
    thetas = walk(CONFIG, [*GRID, 2050])
    run = make(tmp_path / "a", [rises(15), rises(12)], thetas=thetas)
    result = gram.compute([run], Settings(draws=5), Work())
    assert result.tracks[0].ends[-1] == 2000


@pytest.mark.parametrize("count", [0, 1, 8])
def test_too_few_snapshots(tmp_path, runs, count):
    few = make(tmp_path / "few", [rises(15), rises(12)], thetas=walk(CONFIG, GRID[:count]))
    with pytest.raises(RunFolderError, match=rf"required: 11 snapshots .* got: {count} snapshots.* do: train longer"):
        gram.compute([few], Settings(draws=5), Work())
    row = rows_of([runs[0], few])["few"]
    assert (row["windows"], row["decline"]) == (0, None)
    assert row["says"].startswith(f"{count} snapshots: no window")


def test_weights_that_never_move(tmp_path):
    theta = walk(CONFIG, [0])[0]
    run = make(tmp_path / "a", [rises(15), rises(12)], thetas={step: theta for step in GRID})
    done = perform(gram.ANALYSIS, [run], Settings(draws=5))
    assert done.rows[0]["R"] is None
    assert done.rows[0]["decline"] is None


def test_what_does_not_exist_has_no_p_and_a_number_in_its_place_is_found(runs, tmp_path, monkeypatch):
    """No motion, no decline: p is None. The usual count of draws at least as large would say 1 / (draws + 1)."""
    theta = walk(CONFIG, [0])[0]
    run = make(tmp_path / "a", [rises(15), rises(12)], thetas={step: theta for step in GRID})
    columns = ("p order", "p share", "k* = 1 %", "walk k* = 1 %", "walk R high", "walk decline")
    assert {rows_of([run])["a"][column] for column in columns} == {None}
    assert 0 < rows_of(runs)["groks"]["p order"] <= 1
    usual = lambda seen, drawn: (1 + np.sum(drawn >= seen)) / (1 + len(drawn))  # noqa: E731
    monkeypatch.setattr(gram, "p_value", usual)
    assert rows_of([run])["a"]["p order"] == 1 / 41


def test_a_window_without_a_k_leaves_no_share_and_no_decline():
    assert updates.first_share(np.array([1.0, 2.0])) == 0.5
    assert np.isnan(updates.first_share(np.array([1.0, np.nan])))
    assert updates.decline(np.array([3.0, 2.0])) == 1.5
    assert np.isnan(updates.decline(np.array([3.0, np.nan, 2.0])))
    assert np.isnan(updates.decline(np.array([3.0, 0.0])))


def test_runs_that_differ_in_more_than_weight_decay_have_no_matched_step(runs, tmp_path):
    other = make(tmp_path / "other", [rises(15), rises(12)], settings=["optimiser.learning_rate=0.01"])
    with pytest.raises(RunFolderError, match=r"optimiser.learning_rate = 0.003 in groks and 0.01 in other"):
        gram.compute([*runs, other], Settings(draws=5), Work())
    decay = make(tmp_path / "wd", [rises(15)] * 2, settings=["optimiser.weight_decay=0"], thetas=walk(CONFIG, GRID))
    assert len(rows_of([*runs, decay])) == 3


def test_few_draws_have_no_band(runs):
    row = gram.table(gram.compute(runs, Settings(draws=38), Work()))[0]
    assert (row["walk R high"], row["covers"], row["draws"]) == (None, None, 38)
    assert row["p order"] > 1 / 39


def test_no_evaluation_is_an_error(tmp_path):
    run = make(tmp_path / "a", thetas=walk(CONFIG, GRID))
    with pytest.raises(RunFolderError, match="an evaluation"):
        gram.compute([run], Settings(draws=5), Work())


def test_damaged_snapshot_is_an_error_and_a_temporary_file_is_not_read(runs):
    folder = runs[0].folder / "snapshots"
    (folder / "002100.safetensors.tmp").write_bytes(b"half")
    assert rows_of(runs)["groks"]["windows"] == 6
    (folder / "000300.safetensors").write_bytes(b"half")
    with pytest.raises(RunFolderError, match=r"000300"):
        rows_of(runs)


def test_a_killed_sitting_goes_on_without_reading_snapshots_again(runs, tmp_path, monkeypatch):
    work = Work(folder=tmp_path / "parts", key="k")
    whole = gram.table(gram.compute(runs, Settings(draws=5), work))
    monkeypatch.setattr(type(runs[0]), "load_snapshot", lambda *_: pytest.fail("read again"))
    assert gram.table(gram.compute(runs, Settings(draws=5), work)) == whole


def test_twice_the_same_bytes(runs):
    both = []
    for _ in range(2):
        folder = perform(gram.ANALYSIS, runs, Settings(draws=5)).folder
        both.append([(folder / n).read_bytes() for n in ("result.json", "arrays.npz", "table.csv", "figure.png")])
    assert both[0] == both[1]


@pytest.mark.slow
@pytest.mark.parametrize("length", [13, 15, 20])
def test_the_p_of_an_order_keeps_its_word(length):
    """300 runs whose updates have no order: p at most .05 in at most .05 of them, and 3 standard errors."""
    rng, low = np.random.default_rng(length), np.zeros(2)
    for _ in range(300):
        U = rng.standard_normal((length, 50)) * rng.lognormal(0, 1, length)[:, None]
        G, starts = U @ U.T, np.arange(length - 9)
        low += np.array(gram._order(G, starts, updates.score(G, starts, 10), Settings(draws=59), rng)) <= 0.05
    assert (low / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)).all()
