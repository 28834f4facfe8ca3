"""Trajectory PCA on trajectories whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import SMALL, make, walk

from minigrok.analyses import trajectory_pca
from minigrok.analyses.base import Work
from minigrok.config import preset, with_settings
from minigrok.errors import RunFolderError
from minigrok.network.params import initial

CONFIG = with_settings(preset("tiny"), SMALL)

QUICK = trajectory_pca.Settings(draws=20, windows=4)


def result_of(tmp_path, thetas):
    run = make(tmp_path / "run", thetas={100 * i: theta for i, theta in enumerate(thetas)})
    return trajectory_pca.compute([run], QUICK, Work(1))


def test_pure_decay_is_a_line_along_the_start_and_nothing_is_left_without_it(tmp_path):
    theta0 = initial(CONFIG).astype(np.float64)
    rate = CONFIG.optimiser.learning_rate * CONFIG.optimiser.weight_decay
    result = result_of(tmp_path, [theta0 * (1 - rate) ** (100 * i) for i in range(12)])
    for piece in result.pieces:
        assert piece.centred[0] == pytest.approx(1, abs=1e-9)
        assert piece.cos_start == pytest.approx(1, abs=1e-9)
    kept = np.array([piece.no_decay for piece in result.pieces])
    assert np.isnan(kept).all()  # nothing is left, and of nothing there is no share


def test_a_random_walk_lies_in_its_null_band(tmp_path):
    rng = np.random.default_rng(0)
    theta0 = initial(CONFIG).astype(np.float64)
    walk = theta0 + np.cumsum(0.01 * rng.standard_normal((30, theta0.size)), axis=0)
    result = result_of(tmp_path, [theta0, *walk])
    whole = result.pieces[-1]
    low, high = whole.walk[:, 0].min(), whole.walk[:, 0].max()
    spread = high - low
    assert low - 3 * spread < whole.centred[0] < high + 3 * spread


def test_top_ten_share_exceeds_the_share_of_the_total(tmp_path):
    rng = np.random.default_rng(0)
    theta0 = initial(CONFIG).astype(np.float64)
    walk = theta0 + np.cumsum(rng.standard_normal((30, theta0.size)), axis=0)
    for piece in result_of(tmp_path, [theta0, *walk]).pieces:
        assert piece.top10 > piece.centred[0]


def test_table_figure_and_repetition(tmp_path):
    rng = np.random.default_rng(0)
    theta0 = initial(CONFIG).astype(np.float64)
    run = make(tmp_path / "run", thetas={100 * i: theta0 + i * rng.standard_normal(theta0.size) for i in range(5)})
    one, two = (trajectory_pca.compute([run], QUICK, Work(1)) for _ in range(2))
    assert trajectory_pca.table(one) == trajectory_pca.table(two)
    assert len(trajectory_pca.figure(one).axes) == 2 * len(one.pieces)  # centred and uncentred


def test_weights_that_never_move_have_no_direction(tmp_path):
    result = result_of(tmp_path, 5 * [initial(CONFIG)])
    assert all(np.isnan([piece.cos_start, *piece.centred]).all() for piece in result.pieces)
    kept = ("|cos(PC1, W_0)|", "PC1 centred %", "walk null %", "walk high", "PC1 of top 10 %")
    assert {row[column] for row in trajectory_pca.table(result) for column in kept} == {None}
    trajectory_pca.figure(result)


def test_a_band_has_its_draws_beside_it_and_few_draws_have_none(tmp_path):
    run = make(tmp_path / "run", thetas=walk(CONFIG, range(0, 600, 100)))
    for draws, covers in ((38, None), (39, 0.95), (100, pytest.approx(1 - 4 / 101))):
        result = trajectory_pca.compute([run], trajectory_pca.Settings(draws=draws), Work(1))
        for row in trajectory_pca.table(result):
            assert (row["draws"], row["covers"]) == (draws, covers)
            assert (row["walk low"] is None) == (row["decay high"] is None) == (covers is None)
        labels = trajectory_pca.figure(result).axes[0].get_legend_handles_labels()[1]
        assert ("random walk, 95 % of draws" in labels) == (covers is not None)


def test_more_snapshots_than_a_matrix_has_entries(tmp_path):
    settings = [*SMALL, "model.width=4"]
    thetas = walk(with_settings(preset("tiny"), settings), range(0, 2000, 100))
    run = make(tmp_path / "run", thetas=thetas, settings=settings)
    result = trajectory_pca.compute([run], QUICK, Work(1))
    assert min(piece.size for piece in result.pieces) == 16 < len(result.steps)
    assert np.isfinite([(piece.walk, piece.decay) for piece in result.pieces]).all()


@given(snapshots=st.integers(trajectory_pca.LEAST, 2500), windows=st.integers(1, 60))
def test_expanding_windows_grow_to_all_and_the_papers_begin_at_a_share_of_the_log(snapshots, windows):
    for protocol in ("exact", "paper"):
        ends = trajectory_pca.window_ends(snapshots, windows, protocol)
        assert (np.diff(ends) > 0).all()
        assert 1 <= len(ends) <= windows
        assert ends[0] >= trajectory_pca.LEAST
        assert ends[-1] == snapshots or len(ends) == 1
    first = min(max(5, snapshots // windows), snapshots)
    assert list(ends) == sorted(set(np.linspace(first, snapshots, windows, dtype=int)))  # his formula


def test_the_papers_windows_of_two_and_of_three_tasks(tmp_path):
    """102 snapshots of two tasks: from 5 of them on, as his code has it; 15 windows from 6 on for three tasks."""
    for name, tasks, count, first in (("two", '["add", "mul"]', 20, 5), ("three", '["add", "mul", "sq"]', 15, 6)):
        settings = [f"task.operations={tasks}"]
        thetas = walk(with_settings(preset("tiny"), [*SMALL, *settings]), range(0, 10_101, 100))
        run = make(tmp_path / name, thetas=thetas, settings=settings)
        for protocol, windows in (("paper", count), ("exact", 20)):
            (piece, *_, whole) = trajectory_pca.compute(
                [run], trajectory_pca.Settings(protocol, draws=1), Work()
            ).pieces
            assert len(piece.window_steps) == windows
            assert piece.window_steps[0] == (100 * (first - 1) if protocol == "paper" else 200)
            assert piece.window_steps[-1] == 10_100
            assert whole.window_steps[-1] == (10_000 if protocol == "paper" else 10_100)  # the last checkpoint
            assert (piece.window_top3 >= piece.window[:, 0]).all()
            assert piece.window_top3[-1] == pytest.approx(piece.centred.sum())
        chosen = trajectory_pca.Settings("paper", draws=1, windows=3, most=4)
        piece = trajectory_pca.compute([run], chosen, Work()).pieces[0]
        assert piece.window_steps.tolist() == [10_100]  # four snapshots, which are fewer than his five


def test_a_run_that_lacks_the_attention_log_says_so_and_what_to_do(tmp_path):
    thetas = walk(CONFIG, range(0, 2001, 200))
    run = make(tmp_path / "run", thetas=thetas, settings=["train.snapshot_every=200"])
    with pytest.raises(RunFolderError, match=r"the paper's attention log .* do: train with --set train.snapshot_every"):
        trajectory_pca.compute([run], trajectory_pca.Settings("paper", draws=1), Work())
    assert len(trajectory_pca.compute([run], QUICK, Work()).steps) == 11


def test_too_few_snapshots(tmp_path):
    run = make(tmp_path / "run", thetas={0: initial(CONFIG)})
    with pytest.raises(RunFolderError, match="at least 3 snapshots"):
        trajectory_pca.compute([run], QUICK, Work(1))
