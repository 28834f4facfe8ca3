"""`minigrok sweep` and `minigrok status`, as a stranger would use and misuse them."""

import json
import sys
from pathlib import Path

import pytest
from commands import minigrok

from minigrok.analyses.grok_order import ANALYSIS
from minigrok.analyses.perform import settings_for
from minigrok.analyses.results import performed
from minigrok.storage.runs import open_run

SMALL = """
name = "small"
analyses = ["grok_order"]
keep = 3
[base]
preset = "tiny"
task.p = 5
model.width = 4
model.heads = 2
model.mlp_width = 4
compute.engine = "plain"
train.batch_size = 4
train.max_steps = 30
train.eval_every = 10
train.snapshot_every = 5
train.grok_threshold = 0.01
[[grid]]
seed = [1, 2]
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def test_plan_sweep_status_and_once_more(workplace):
    planned = json.loads(minigrok("sweep", "small.toml", "--plan", "--json").stdout)
    assert [run["state"] for run in planned["runs"]] == ["not begun"] * 2
    assert planned["n_bytes"] > planned["thinned"] > 0
    assert planned["seconds"] > 0
    assert not (workplace / "runs").exists(), "a plan changes nothing"

    swept = minigrok("sweep", "small.toml", "--jobs", 2)
    assert "training left, at most:" in swept.stderr
    assert "disk, at most:" in swept.stderr
    assert "[3 of 3]" not in swept.stderr
    assert "[1 of 1] compare-grok_order-exact: done" in swept.stderr
    assert "2 done; table and picture: runs/small/table.csv, status.png" in swept.stdout
    folder = workplace / "runs" / "small"
    runs = [open_run(folder / name) for name in ("tiny-s1", "tiny-s2")]
    assert [len(run.snapshots()) for run in runs] == [3, 3]
    assert performed(ANALYSIS, runs, settings_for(ANALYSIS, "exact", []))
    assert not performed(ANALYSIS, runs, settings_for(ANALYSIS, "paper", []))
    assert not performed(ANALYSIS, runs[:1], settings_for(ANALYSIS, "exact", []))

    assert "nothing to do: 2 done" in minigrok("sweep", "small.toml").stdout
    assert "small: 2 done\n" in minigrok("status", folder).stdout
    found = json.loads(minigrok("status", folder, "--json").stdout)
    assert [row["state"] for row in found["runs"]] == ["done", "done"]
    assert (found["seconds_left"], found["comparisons_missing"]) == (0.0, [])


def test_a_failure_is_in_the_table_and_in_the_exit_code(workplace):
    diverging = ["--set", "optimiser.learning_rate=1e30", "--set", "train.stop_when_grokked=false"]
    swept = minigrok("sweep", "small.toml", *diverging, code=1)
    assert "failed" in swept.stdout
    assert "finite" in swept.stdout
    assert "finite" in minigrok("status", "runs/small").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep", "paper-dul"], "did you mean paper-dual?"),
        (["sweep", "none.toml"], "No such file"),
        (["sweep", "small.toml", "--set", "seed"], "a setting key=value"),
        (["sweep", "small.toml", "--set", "train.max_step=1"], "train.max_steps"),
        (["sweep", "small.toml", "--only", "x*"], "a pattern"),
        (["sweep", "small.toml", "--scheduler", "tcp://h:1", "--dask-jobqueue", "slurm"], "leave one out"),
        (["sweep", "small.toml", "--scheduler", "tcp://h:1", "--jobs", "2"], "leave --jobs out"),
        (["sweep", "small.toml", "--scheduler", "tcp://h:1", "--queue-set", "a=1"], "--dask-jobqueue for --queue-set"),
        (["sweep", "small.toml", "--tls-ca-file", "a"], "not all three"),
        (["sweep", "small.toml", "--queue-set", "a=1"], "options for them alone"),
        (["status", "."], "the folder of a sweep"),
    ],
)
def test_wrong_use(arguments, words, workplace):
    result = minigrok(*arguments, code=2)
    assert words in result.stderr
    assert result.stdout == ""
    assert not (workplace / "runs").exists()


def test_without_dask_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install '.[distributed]'" in minigrok("sweep", "small.toml", "--scheduler", "tcp://h:1", code=3).stderr


def test_a_damaged_sweep_folder_is_named(workplace):
    minigrok("sweep", "small.toml", "--only", "*-s1")
    path = workplace / "runs" / "small" / "sweep.json"
    path.write_text(path.read_text()[:50])
    assert "a sweep.json as minigrok wrote it" in minigrok("status", "runs/small", code=2).stderr
