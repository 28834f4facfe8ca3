"""`minigrok analyse` end to end: one run, several, and an analysis that fails among others."""

import numpy as np
import pytest
from click.testing import CliRunner
from minigrok_cli.main import main

from minigrok import analyses, runs
from minigrok.analyses import grok_order, heads, trajectory_pca
from minigrok.config import preset, with_settings
from minigrok.params import initial

SMALL = ["task.p=7", "model.width=8", "model.heads=2", "model.mlp_width=8"]


@pytest.fixture(autouse=True)
def three(monkeypatch):
    """Three of the analyses, to be quick: a comparison of runs, one that needs 3 snapshots, one that needs 1."""
    chosen = {module.ANALYSIS.name: module.ANALYSIS for module in (trajectory_pca, grok_order, heads)}
    monkeypatch.setattr(analyses, "ANALYSES", chosen)


def run_with(folder, snapshots, seed=1):
    config = with_settings(preset("tiny"), [*SMALL, f"seed={seed}"])
    with runs.create(folder, config) as run:
        tasks = config.task.operations
        row = {f"{p}_{what}_{task}": 0.5 for p in ("train", "test") for what in ("loss", "accuracy") for task in tasks}
        run.append_metrics({"step": 1, **row, "grad_norm": 1.0, "param_norm": 1.0})
        rng = np.random.default_rng(seed)
        for i in range(snapshots):
            theta = initial(config)
            run.save_snapshot(100 * i, theta + np.float32(0.01 * i) * rng.standard_normal(theta.size, np.float32))
    return folder


def analyse(*arguments):
    return CliRunner().invoke(main, ["analyse", *map(str, arguments)])


def test_all_of_one_run_and_of_several(tmp_path):
    one, two = (run_with(tmp_path / str(i), 4, i) for i in (1, 2))
    assert analyse("all", one).exit_code == 0
    done = analyse("all", one, two)
    assert done.exit_code == 0, done.output
    assert {path.name for path in (two / "analysis").iterdir()} == {"trajectory_pca", "heads"}
    assert "grok_order" in {path.name for path in (one / "analysis").iterdir()}


def test_one_failure_says_so_and_hides_no_other(tmp_path):
    few, enough = run_with(tmp_path / "few", 1), run_with(tmp_path / "enough", 4, 2)
    done = analyse("all", few, enough)
    assert done.exit_code == 2
    assert f"trajectory_pca of {few} failed\n  required: at least 3 snapshots" in done.output
    assert "1 of 5 failed: trajectory_pca" in done.output
    assert (few / "analysis" / "heads" / "table.csv").exists()
    assert (enough / "analysis" / "trajectory_pca" / "table.csv").exists()


def test_a_single_failure_is_the_usual_error(tmp_path):
    done = analyse("trajectory_pca", run_with(tmp_path / "few", 1))
    assert done.exit_code == 2
    assert "Error\n  required: at least 3 snapshots" in done.output
