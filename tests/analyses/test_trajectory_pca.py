"""Trajectory PCA on trajectories whose answer is known."""

import numpy as np
import pytest
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


def test_too_few_snapshots(tmp_path):
    run = make(tmp_path / "run", thetas={0: initial(CONFIG)})
    with pytest.raises(RunFolderError, match="at least 3 snapshots"):
        trajectory_pca.compute([run], QUICK, Work(1))
