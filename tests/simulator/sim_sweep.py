"""A sweep on the device: runs packed into replicas, the folders of runs alone, stopped and resumed."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from minigrok_cli.main import main
from sim_train import bits

from minigrok.engine import device
from minigrok.experiments.on_device import OnDevice
from minigrok.experiments.sweep import Watcher, conduct
from minigrok.experiments.sweep_file import read_sweep
from minigrok.network.params import layout
from minigrok.storage.runs import create
from minigrok.training.train import train

TEXT = """
name = "small"

[base]
preset = "tiny"
compute.engine = "cuda"
task.p = 5
model.width = 4
model.heads = 2
model.mlp_width = 3
train.batch_size = 6
train.max_steps = 1
train.eval_every = 2
train.snapshot_every = 2

[[grid]]
optimiser.weight_decay = [1.0, 0.5, 0.0]
"""


def test_a_sweep_packs_its_runs_and_each_is_the_run_alone(tmp_path):
    sweep = read_sweep(TEXT, {"train.max_steps": 2})
    asked = iter([False, False])  # by each of the first two runs after their first step; then the answer is yes
    stopped = conduct(sweep, tmp_path / "sweep", OnDevice(2), Watcher(stop=lambda: next(asked, True)))
    assert stopped.stopped
    done = conduct(sweep, tmp_path / "sweep", OnDevice(2))
    assert done.complete
    assert [cell.step for cell in done.cells] == [2] * 3
    assert conduct(sweep, tmp_path / "sweep", OnDevice()).jobs == 0
    config = sweep.configs[-1]
    with create(tmp_path / "alone", config) as run:
        train(run)
    assert bits(tmp_path / "sweep" / config.name) == bits(tmp_path / "alone")


def test_a_run_that_diverges_is_named_and_the_others_are_done(tmp_path):
    sweep = read_sweep(TEXT)
    bad = sweep.configs[0]
    theta = np.full(layout(bad).size, np.nan, np.float32)
    (tmp_path / "sweep").mkdir()
    create(tmp_path / "sweep" / bad.name, bad, theta).close()
    ended = []
    with np.errstate(all="ignore"):
        done = conduct(sweep, tmp_path / "sweep", OnDevice(), Watcher(ended=ended.append))
    assert [cell.state for cell in done.cells] == ["failed", "done", "done"]
    assert "finite" in done.cells[0].reason
    assert [outcome.ok for outcome in ended] == [False, True, True]


def test_the_command(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(TEXT.replace('compute.engine = "cuda"\n', ""))
    call = ["sweep", str(file), "--out", str(tmp_path / "out"), "--only", "*wd0.5*", "--engine", "cuda"]
    planned = CliRunner().invoke(main, [*call, "--plan"])
    assert planned.exit_code == 0, planned.output
    assert "unknown on the CUDA device of this machine, up to 64 runs at once" in planned.output
    done = CliRunner().invoke(main, [*call, "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["runs"]
    assert sorted(row["state"] for row in rows) == ["done", "not begun", "not begun"]
    for wrong in (["--jobs", "2"], ["--scheduler", "tcp://localhost:1"]):
        refused = CliRunner().invoke(main, [*call, *wrong])
        assert refused.exit_code == 2, refused.output
        assert wrong[0] in refused.output
    other = CliRunner().invoke(main, ["sweep", str(file), "--out", str(tmp_path / "cpu"), "--replicas", "2", "--plan"])
    assert other.exit_code == 2


def test_the_benchmark_of_replicas(tmp_path):
    small = ("task.p=5", "model.width=4", "model.heads=2", "model.mlp_width=3", "train.batch_size=6")
    call = ["bench", "--engine", "cuda", "--config", "tiny", *(f"--set={each}" for each in small)]
    call += ["--set", "train.eval_every=1", "--replicas", "1,2", "--bursts", "1", "--json", str(tmp_path / "b.json")]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    for heading in ("run-steps a second", "of peak", "Hv a second"):
        assert heading in done.stdout
    found = json.loads((tmp_path / "b.json").read_text())
    assert [rate["replicas"] for rate in found["rates"]] == [1, 2]
    for rate in found["rates"]:
        assert rate["run_steps"] == rate["replicas"] / rate["step"] > 0
        assert rate["evaluation"] > 0
        assert (rate["share"] is None) == device.simulated(), "a simulator has no peak"
    one, two = (rate["flops"] * rate["step"] for rate in found["rates"])
    assert two == pytest.approx(2 * one)
    assert [(each["dtype"], each["pairs"]) for each in found["products"]] == [("float32", 6), ("float64", 9)]
    for wrong in (["step"], ["--replicas", "0"], ["--replicas", "many"]):
        assert CliRunner().invoke(main, ["bench", "--engine", "cuda", *wrong]).exit_code == 2
