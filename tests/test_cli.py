"""The command line: exit codes, messages, files; every command as a stranger would use and misuse it."""

import io
import json
import re
import signal
import subprocess
import sys
import time

import commands
import numpy as np
import pytest
from commands import invoke as minigrok
from minigrok_cli import tables
from minigrok_cli.help import pages
from minigrok_cli.main import main
from rich.console import Console
from rich.text import Text

from minigrok.config import preset_names
from minigrok.experiments.verify import verify
from minigrok.storage.runs import open_run

SMALL = """
name = "small"
[task]
p = 5
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
snapshot_every = 50
grok_threshold = 0.01
[compute]
engine = "plain"
"""
COMMAND = [sys.executable, "-m", "minigrok_cli"]
HEAVY = {"numpy", "numba", "scipy", "matplotlib", "safetensors", "rich"}


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """Return the current folder, empty but for small.toml: 60 steps of a very small model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def expect_error(code, *arguments, words=()):
    result = commands.minigrok(*arguments, code=code, words=words)
    assert result.stdout == ""
    return result


# --- help ------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy():
    code = "import sys, minigrok_cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert HEAVY.isdisjoint(loaded.split())


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_every_command(command, flag):
    result = minigrok(*command, flag)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage:")


def test_short_helps_are_not_cut_off():
    assert "..." not in minigrok("--help").stdout.replace("[ARGS]...", "")


def test_help_lists_its_topics_with_a_line_each():
    listed = minigrok("help").stdout
    assert all(re.search(rf"^ *{topic} .*\w\.", listed, re.MULTILINE) for topic in pages())


def test_help_of_a_topic_is_its_page():
    assert minigrok("help", "analyses").stdout == pages()["analyses"]


def test_a_page_is_laid_out_in_a_terminal(monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(tables, "stdout", lambda: terminal)
    assert minigrok("help", "interventions").stdout == ""
    shown = Text.from_ansi(terminal.file.getvalue()).plain
    assert "Interventions" in shown
    assert "other_seed" in shown
    assert "<!--" not in shown
    assert "```" not in shown


@pytest.mark.parametrize("command", ["train", "reference", "help"])
def test_help_of_a_command_is_that_of_its_option(command):
    assert minigrok("help", command).stdout == minigrok(command, "--help").stdout


@pytest.mark.parametrize(
    ("word", "meant"), [("analysis", "analyses"), ("interven", "intervene"), ("", "choose one of")]
)
def test_an_unknown_topic_is_an_error_that_says_the_nearest(word, meant):
    expect_error(2, "help", word, words=("required:", repr(word), meant))


def test_version():
    assert minigrok("--version").stdout.startswith("minigrok, version ")


# --- train, resume, plot ---------------------------------------------------------------------------------


def test_train_then_everything_else(workplace):
    trained = minigrok("train", "small.toml", "--json")
    assert trained.exit_code == 0
    outcome = json.loads(trained.stdout)
    folder = workplace / "runs" / "small-s42"
    assert outcome["folder"] == "runs/small-s42"
    assert "add, mul mod 5, 8 train and 8 test pairs" in trained.stderr
    assert "engine plain, float32" in trained.stderr

    state = open_run(folder).load_checkpoint()[1]
    assert outcome["step"] == state["step"]
    assert [task["grokked_at"] for task in outcome["tasks"]] == state["grok_step"]
    last = {name: column[-1] for name, column in open_run(folder).metrics().items()}
    assert [task["test_loss"] for task in outcome["tasks"]] == [last["test_loss_add"], last["test_loss_mul"]]

    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    again = expect_error(2, "train", "small.toml", words=["minigrok resume runs/small-s42"])
    assert "Error\n  required: " in again.stderr
    resumed = minigrok("resume", folder)
    assert resumed.exit_code == 0
    assert "finished before" in resumed.stdout
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before

    plotted = minigrok("plot", folder, folder, "--log-steps")
    assert plotted.stdout.split() == [str(folder / name) for name in ("training.png", "training.svg")] * 2
    assert (folder / "training.svg").stat().st_size > 1000


def test_the_table_says_what_came_out_and_what_next():
    result = minigrok("train", "small.toml", "--out", "a b", "--set", "train.grok_threshold=1.0")
    assert "the budget is used up, and not grokked: add, mul; 60 steps" in result.stdout
    assert "next: minigrok plot 'a b'" in result.stdout
    for heading in ("memorised at", "grokked at", "test accuracy", "test loss"):
        assert heading in result.stdout


def test_settings_reach_the_run(workplace):
    settings = ["--set", "seed=3", "--set", "optimiser.weight_decay=0.5", "--after-grok", "7", "--engine", "plain"]
    assert minigrok("train", "small.toml", *settings).exit_code == 0
    config = open_run(workplace / "runs" / "small-s3").config
    assert (config.optimiser.weight_decay, config.train.after_grok) == (0.5, 7)


def test_resume_goes_on_after_the_grok():
    first = json.loads(minigrok("train", "small.toml", "--out", "a", "--json").stdout)
    grok = max(task["grokked_at"] for task in first["tasks"])
    assert first["step"] == grok < 60
    longer = json.loads(minigrok("resume", "a", "--after-grok", "5", "--threads", "1", "--json").stdout)
    assert (longer["step"], longer["state"]) == (grok + 5, "finished")


def test_init_is_where_training_starts(workplace):
    minigrok("train", "small.toml", "--out", "a", "--set", "train.grok_threshold=1.0")
    snapshot = "a/snapshots/000050.safetensors"
    assert minigrok("train", "small.toml", "--out", "b", "--init", snapshot).exit_code == 0
    a, b = open_run(workplace / "a"), open_run(workplace / "b")
    np.testing.assert_array_equal(b.load_snapshot(0), a.load_snapshot(50))


def test_a_run_that_diverges_stops_with_its_state_saved(workplace):
    setting = "optimiser.learning_rate=1e30"
    result = expect_error(1, "train", "small.toml", "--set", setting, words=["a finite loss", "learning_rate"])
    assert "Warning" not in result.stderr, "NumPy's, about the overflow, would be an error here"
    run = open_run(workplace / "runs" / "small-s42")
    assert np.isfinite(run.load_checkpoint()[0]["theta"]).all()


# --- wrong use -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], ["Missing argument"]),
        (["train", "daul"], ["'daul'", "did you mean dual?"]),
        (["train", "nowhere.toml"], ["nowhere.toml: No such file or directory\n"]),
        (["train", "small.toml", "--set", "optimiser.weight_decy=1"], ["did you mean optimiser.weight_decay?"]),
        (["train", "small.toml", "--set", "weight_decay"], ["key=value"]),
        (["train", "small.toml", "--set", "task.p=12"], ["task.p a prime"]),
        (["train", "small.toml", "--engine", "gpu"], ["one of plain, cpu, cuda"]),
        (
            ["train", "small.toml", "--init", "nowhere.safetensors"],
            ["nowhere.safetensors: No such file", "name a file that is there"],
        ),
        (["train", "small.toml", "--init", "small.toml"], ["small.toml"]),
        (["train", "small.toml", "--threads", "0"], ["--threads"]),
        (["train", "small.toml", "--out", "small.toml"], ["small.toml is a file"]),
        (["resume", "nowhere"], ["nowhere is no folder"]),
        (["resume", "."], ["without a config.toml"]),
        (["plot"], ["Missing argument"]),
        (["check", "--pairs", "0"], ["B = 0"]),
        (["check", "--classes", "12"], ["prime"]),
        (["plot", "nowhere"], ["nowhere is no folder"]),
        (["grok"], ["No such command"]),
        (["bench", "stpe"], ["'stpe'", "did you mean step?"]),
        (["bench", "--peers", "eager,torhc"], ["'torhc'", "eager, compile, jax, jax-tuned"]),
        (["bench", "--peers", "sgemm"], ["'sgemm'"]),
        (["bench", "--threads", "4096"], ["4096 threads", "lower --threads"]),
        (["bench", "--seconds", "-1"], ["--seconds"]),
    ],
)
def test_wrong_use_is_explained_and_leaves_nothing(workplace, arguments, words):
    expect_error(2, *arguments, words=words)
    assert [path.name for path in workplace.iterdir()] == ["small.toml"]


def test_a_missing_engine_leaves_no_folder(workplace):
    expect_error(3, "train", "small.toml", "--engine", "cuda", words=["cuda"])
    assert not (workplace / "runs").exists()


@pytest.mark.parametrize("arguments", [["--debug", "resume", "nowhere"], ["resume", "nowhere", "--debug"]])
def test_debug_shows_the_traceback(arguments):
    result = minigrok(*arguments)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "required: the folder of a run" in result.stderr


# --- info ------------------------------------------------------------------------------------------------


def test_info_for_people_and_machines():
    found = json.loads(minigrok("info", "--json").stdout)
    assert [preset["name"] for preset in found["presets"]] == preset_names()
    text = minigrok("info").stdout
    for word in ("numba", "BLAS", "kernel", "302,914", "layernorm", "cuda"):
        assert word in text


# --- real processes --------------------------------------------------------------------------------------


def test_portable_mode_starts_the_process_anew():
    """Its settings must be there before NumPy is imported."""
    command = [*COMMAND, "train", "small.toml", "--set", "compute.portable=true"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ", portable; at most 60 steps" in done.stderr


def start(*arguments):
    """Start minigrok, and return once it has trained for a while."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*COMMAND, *arguments], **pipes)
    for line in process.stderr:
        if line.startswith("step "):
            return process
    raise AssertionError(process.communicate())


LONG = ["--set", "train.max_steps=100000", "--set", "train.grok_threshold=1.0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_is_as_uninterrupted(workplace, number):
    process = start("train", "small.toml", "--out", "a", *LONG)
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "to go on: minigrok resume a" in stdout
    step = open_run(workplace / "a").load_checkpoint()[1]["step"]
    assert 0 < step < 100_000
    limit = ["--set", f"train.max_steps={step + 30}", "--set", "train.grok_threshold=1.0"]
    assert minigrok("train", "small.toml", "--out", "b", *limit).exit_code == 0

    process = start("resume", "a", "--json")
    while len(open_run(workplace / "a").metrics()["step"]) < (step + 30) // 10 + 1:
        time.sleep(0.02)
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=30)
    assert json.loads(stdout)["state"] == "interrupted"
    rows = (workplace / "b" / "metrics.csv").read_text()
    assert (workplace / "a" / "metrics.csv").read_text().startswith(rows)


def test_a_second_ctrl_c_ends_at_once_and_the_run_is_intact(workplace):
    process = start("train", "small.toml", "--out", "a", *LONG)
    process.send_signal(signal.SIGSTOP)  # both signals wait, so that none comes after the end
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    stdout, _ = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, "")
    # Two threads may take a signal each: the saving that the first one asks for is then over, or was cut off.
    assert [finding for finding in verify(workplace / "a") if finding.wrong] == []
