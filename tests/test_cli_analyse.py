"""`minigrok analyse` end to end: one run, several, a sweep, and an analysis that fails among others."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from minigrok_cli import beside
from minigrok_cli.main import main

from minigrok import analyses
from minigrok.analyses import grok_order, heads, trajectory_pca
from minigrok.config import preset, with_settings
from minigrok.experiments.cells import sweep_to_json
from minigrok.experiments.sweep_file import read_sweep
from minigrok.network.params import initial
from minigrok.storage import runs

EVERY = list(analyses.ANALYSES.values())
SMALL = ["task.p=7", "model.width=8", "model.heads=2", "model.mlp_width=8"]


@pytest.fixture(autouse=True)
def three(monkeypatch):
    """Three of the analyses, to be quick: a comparison of runs, one that needs 3 snapshots, one that needs 1."""
    chosen = {module.ANALYSIS.name: module.ANALYSIS for module in (trajectory_pca, grok_order, heads)}
    monkeypatch.setattr(analyses, "ANALYSES", chosen)


def row_of(config):
    tasks = config.task.operations
    row = {f"{p}_{what}_{task}": 0.5 for p in ("train", "test") for what in ("loss", "accuracy") for task in tasks}
    return {"step": 1, **row, "grad_norm": 1.0, "param_norm": 1.0}


def run_with(folder, snapshots, seed=1):
    config = with_settings(preset("tiny"), [*SMALL, f"seed={seed}"])
    with runs.create(folder, config) as run:
        run.append_metrics(row_of(config))
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


def test_outcomes_come_in_the_order_of_the_list_whoever_made_them(tmp_path, monkeypatch):
    one = run_with(tmp_path / "one", 4)
    rows = [json.loads(line) for line in analyse("all", one, "--json").stdout.splitlines()]
    monkeypatch.setattr(beside, "__name__", "minigrok_cli.nothing")  # the other process dies at once
    again = [json.loads(line) for line in analyse("all", one, "--json").stdout.splitlines()]
    assert again == rows
    alone = [json.loads(analyse(name, one, "--json").stdout) for name in analyses.ANALYSES]
    assert alone == rows


def test_what_comparisons_read_stays_here_and_the_rest_is_shared_out_evenly():
    jobs = [beside.Job(analysis, []) for analysis in EVERY]
    seconds = [10.0 + 7 * i % 31 for i in range(len(jobs))]
    theirs = beside.shared_out(jobs, seconds)
    names = {jobs[i].analysis.name for i in theirs}
    assert names
    assert not names & {*beside.READ, "onset", "phase", "subspace"}
    there = sum(seconds[i] for i in theirs)
    assert there <= sum(seconds) / 2 + max(seconds)
    assert [seconds[i] for i in theirs] == sorted((seconds[i] for i in theirs), reverse=True)


def test_all_says_its_total_first(tmp_path):
    done = analyse("all", run_with(tmp_path / "one", 4))
    assert done.stderr.startswith("3 analyses: about ")


def test_the_heading_says_the_protocol_that_was_taken_whichever_option_set_it(tmp_path):
    one = run_with(tmp_path / "one", 4)
    for options in (("--protocol", "paper"), ("--set", 'protocol="paper"')):
        assert "grok_order (paper)" in analyse("grok_order", one, *options).output


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


def sweep_with(folder, runs_begun):
    """Folder of a sweep of 4 runs, of which some were begun."""
    text = """
    name = "small"
    [base]
    preset = "tiny"
    task.p = 7
    model.width = 8
    model.heads = 2
    model.mlp_width = 8
    [[grid]]
    optimiser.weight_decay = [1.0, 0.5]
    seed = [1, 2]
    """
    sweep = read_sweep(text)
    folder.mkdir()
    (folder / "sweep.json").write_bytes(sweep_to_json(sweep))
    for config in sweep.configs[:runs_begun]:
        with runs.create(folder / config.name, config) as run:
            run.append_metrics(row_of(config))
            run.save_snapshot(0, initial(config))
    return folder


def test_the_folder_of_a_sweep_stands_for_its_runs_that_were_begun(tmp_path):
    folder = sweep_with(tmp_path / "sweep", 3)
    done = analyse("grok_order", folder, "--json")
    assert done.exit_code == 0, done.output
    names = ["tiny-wd1-s1", "tiny-wd1-s2", "tiny-wd0.5-s1"]
    assert (
        list(json.loads((folder / names[0] / "analysis" / "grok_order" / "result.json").read_text())["runs"]) == names
    )
    assert analyse("heads", folder, run_with(tmp_path / "more", 1)).exit_code == 0  # beside a run, and one by one
    assert all((folder / name / "analysis" / "heads" / "table.csv").exists() for name in names)


def test_a_sweep_without_a_run_and_a_damaged_one_are_refused(tmp_path):
    done = analyse("grok_order", sweep_with(tmp_path / "sweep", 0))
    assert done.exit_code == 2
    assert "none of 4" in done.output
    (tmp_path / "sweep" / "sweep.json").write_text("{")
    assert "a sweep.json as minigrok wrote it" in analyse("grok_order", tmp_path / "sweep").output
    (tmp_path / "nothing").mkdir()
    assert "the folder of a run" in analyse("grok_order", tmp_path / "nothing").output
