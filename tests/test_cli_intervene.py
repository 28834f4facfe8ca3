"""`minigrok intervene`, as a stranger would use and misuse it; and what other commands make of its runs."""

import json
from pathlib import Path

import pytest
from commands import minigrok

from minigrok.storage.runs import open_run

SMALL = """
name = "small"
[task]
p = 7
operations = ["add", "mul"]
[model]
width = 4
heads = 2
mlp_width = 4
blocks = 1
[train]
batch_size = 4
max_steps = 60
eval_every = 10
snapshot_every = 2
grok_threshold = 1e-9
grok_patience = 3
after_grok = 50
[compute]
engine = "plain"
"""
QUICK = ("--set", "intervention.rank=2", "--set", "intervention.start=20", "--set", "train.max_steps=40")


@pytest.fixture(autouse=True)
def _workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL)
    minigrok("train", "small.toml", "--out", "runs/source")


def test_a_run_beside_its_source_and_what_other_commands_make_of_it():
    found = minigrok("intervene", "runs/source", "--arm", "deletion", "--dose", "0.1", *QUICK)
    assert "deletion 0.1 from step 20" in found.stderr
    run = open_run("runs/source-deletion-0.1")
    settings = run.config.intervention
    assert (run.config.name, settings.arm, settings.dose, settings.source) == (
        "small-deletion-0.1",
        "deletion",
        0.1,
        "source",
    )
    assert run.metrics("intervention.csv")["step"].tolist() == [1, 10, 20, 30, 40]
    source = open_run("runs/source").metrics()
    assert run.metrics()["param_norm"][:2].tolist() == source["param_norm"][:2].tolist()
    assert run.metrics()["param_norm"][-1] != source["param_norm"][4]
    assert json.loads(minigrok("resume", run.folder, "--json").stdout)["state"] == "finished before"
    minigrok("plot", run.folder)
    assert (run.folder / "training.png").stat().st_size > 10_000
    minigrok("analyse", "dose_response", "runs/source", run.folder)
    assert list(Path("runs").glob("**/analysis/dose_response/table.csv"))


def test_a_file_with_the_section_is_the_same_run():
    minigrok("intervene", "runs/source", "--arm", "removal", "--dose", "0.5", *QUICK, "--out", "runs/a")
    Path("again.toml").write_text(Path("runs/a/config.toml").read_text())
    minigrok("train", "again.toml", "--out", "runs/b")
    assert Path("runs/a/metrics.csv").read_bytes() == Path("runs/b/metrics.csv").read_bytes()
    assert Path("runs/a/plane.safetensors").read_bytes() == Path("runs/b/plane.safetensors").read_bytes()


def test_the_plane_of_another_seed_and_another_folder():
    minigrok("train", "small.toml", "--set", "seed=3", "--out", "elsewhere/other")
    plane = ("--plane-of", "elsewhere/other")
    minigrok("intervene", "runs/source", "--arm", "other_seed", "--dose", "0.1", *plane, *QUICK, "--out", "runs/x")
    assert open_run("runs/x").config.intervention.source == "../elsewhere/other"
    assert open_run("runs/x").config.seed == 42


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs/nowhere", "--arm", "deletion"), ("the folder of a run",)),
        (("runs/source", "--arm", "deletoin"), ("did you mean deletion?",)),
        (("runs/source", "--arm", "deletion", "--dose", "2"), ("intervention.dose 0 <= dose <= 1", "2.0")),
        (("runs/source", "--arm", "deletion", "--set", "intervention.rank=500"), ("at least 501 snapshots",)),
        (("runs/source", "--arm", "other_seed", *QUICK), ("another seed than 42",)),
        (("runs/source", "--arm", "deletion", "--set", "model.width=8"), ("this run's model",)),
        (("runs/source", "--arm", "deletion", "--set", "dose"), ("a setting key=value",)),
        (("runs/source", "--arm", "deletion", *QUICK, "--out", "runs/source"), ("a new or empty folder",)),
    ],
)
def test_misuse_is_an_error_in_three_parts_and_makes_no_folder(arguments, words):
    before = sorted(Path("runs").iterdir())
    found = minigrok("intervene", *arguments, code=2, words=("required:", "got:", "do:", *words))
    assert found.stdout == ""
    assert sorted(Path("runs").iterdir()) == before
