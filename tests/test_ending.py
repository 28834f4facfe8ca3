"""How commands end: Ctrl-C, a reader that goes away, a full disk; and names that would steer a terminal."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import minigrok_cli
import pytest
from commands import invoke, minigrok
from minigrok_cli import info as info_command
from minigrok_cli.interrupt import SIGNALS

from minigrok.config import from_toml
from minigrok.display import brief, printable
from minigrok.experiments.cells import write_failure
from minigrok.storage.runs import create, open_run
from minigrok.training.train import train

SMALL = """
name = "small"
task.p = 5
model = { width = 4, heads = 2, mlp_width = 4, blocks = 1 }
train = { batch_size = 4, max_steps = 30, eval_every = 10, snapshot_every = 10 }
compute.engine = "plain"
"""
COMMAND = [sys.executable, "-m", "minigrok_cli"]
RED = "\x1b[31m\x07\u202e"  # colour, bell, right to left


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def call(*arguments, **files):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | files
    return subprocess.run([*COMMAND, *arguments], text=True, timeout=120, check=False, **pipes)


# --- Ctrl-C


@pytest.mark.parametrize(
    "command", [["analyse", "all", "runs/small-s42"], ["check"], ["reference", "check"], ["plot", "x"]]
)
def test_ctrl_c_in_any_command_is_130_and_a_line(command, monkeypatch):
    def interrupted(self, ctx):
        raise KeyboardInterrupt

    monkeypatch.setattr(click.Command, "invoke", interrupted)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        result = invoke(*command)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted: ")
    assert "Aborted" not in result.output


def heeding():
    """Take Ctrl-C, even if these tests run in the background of a shell, where it is ignored by inheritance."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", [["check"], ["bench", "step", "--peers", "none"], ["analyse", "all", "run"]])
def test_a_real_ctrl_c_leaves_no_traceback(command, number):
    call("train", "small.toml", "--out", "run")
    for seconds in (0.8, 1.5, 3.0):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*COMMAND, *command], **pipes, preexec_fn=heeding)
        time.sleep(seconds)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (130, 0, -number), err  # 0: it was faster; the signal: Python started or ended
        assert process.returncode != 130 or "interrupted: " in err
        assert "Traceback" not in err
        assert "Aborted" not in err


CALLBACK = """
import ctypes, os, signal, sys, time
from minigrok_cli.ending import Call

@ctypes.CFUNCTYPE(None)
def callback():
    if not sent:
        sent.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

def work():
    callback()
    time.sleep(20)
    return 7

sent = []
sys.exit(Call("check").end(work))
"""


def test_ctrl_c_within_a_callback_from_c_is_not_lost():
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CALLBACK], capture_output=True, text=True, timeout=60, check=False, preexec_fn=heeding
    )
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing was changed\n")
    assert time.monotonic() - started < 15


# --- nobody reads


def reader_that_leaves():
    """Return the writing end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


def test_a_closed_pipe_ends_output_and_no_work(workplace):
    pipe = reader_that_leaves()
    assert call("train", "small.toml", "--out", "run", stdout=pipe, stderr=pipe).returncode == 0
    assert open_run("run").snapshots() == [0, 10, 20, 30]
    done = call("help", "commands", stdout=pipe)
    assert (done.returncode, done.stderr) == (141, "")
    done = call("--help", stdout=pipe)
    assert (done.returncode, done.stderr) == (141, "")
    os.close(pipe)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_a_clear_error(workplace):
    with open("/dev/full", "w") as full:
        done = call("train", "small.toml", "--out", "run", stdout=full)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "required: room for the output\n  got:      No space left on device" in done.stderr
        assert open_run("run").snapshots() == [0, 10, 20, 30]
        done = call("status", "nowhere", stderr=full)
        assert (done.returncode, done.stdout) == (2, "")
        assert call("help", stderr=full, stdout=full).returncode == 1


def test_closed_descriptors_are_no_files(workplace):
    done = subprocess.run(
        f"{' '.join(COMMAND)} train small.toml --out run >&- 2>&-", shell=True, timeout=120, check=False
    )
    assert done.returncode == 0
    assert open_run("run").snapshots() == [0, 10, 20, 30]


# --- errors of the system


def test_what_the_system_refuses_has_three_parts(monkeypatch):
    for name in ("x" * 300, "small.toml/in"):
        minigrok("status", name, code=2, words=("required: ", "got: ", "do: "))
    minigrok("train", "x" * 300, code=2, words=("required: ", "File name too long", "do: "))
    for error in (MemoryError("Unable to allocate 9 EiB"), RecursionError("too deep")):

        def refused(found, error=error):
            raise error

        monkeypatch.setattr(info_command, "show", refused)
        minigrok("info", code=2, words=("required: ", str(error), "do: "))


# --- what a terminal may be shown


def test_printable_text_is_left_alone_and_the_rest_written_out():
    assert printable("a b\tc\nθ, Ω") == "a b\tc\nθ, Ω"
    assert printable(RED) == "\\x1b[31m\\x07\\u202e"
    assert printable(os.fsdecode(b"\xff")) == "\\udcff"
    assert printable(printable(RED)) == printable(RED)


def test_brief_quotes_anything():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (10**5000, deep, "x" * 10**6, list(range(10**5))):
        assert len(brief(value)) < 300
    assert brief(0.5) == "0.5"


def test_no_command_lets_a_name_steer_the_terminal(workplace):
    sweep = f'name = "s"\n[base]\nfile = "{workplace}/small.toml"\n[[grid]]\nseed = [1]\n'
    (workplace / "sweep.toml").write_text(sweep)
    minigrok("sweep", "sweep.toml", "--out", "sweep", "--jobs", 1)
    (workplace / "sweep" / "small-s1" / "checkpoint.safetensors").unlink()
    write_failure(workplace / "sweep", "small-s1", f"died of {RED}")
    run = workplace / f"run{RED}"
    config = from_toml(SMALL)
    with create(run, config) as made:
        train(made, 1)
    (workplace / f"{RED}.toml").write_text(f'name = "x"\n"{RED.encode("unicode_escape").decode()}" = 1\n')
    commands = [
        ("status", "sweep"),
        ("resume", run),
        ("analyse", "grok_order", run),
        ("plot", run),
        ("train", f"{RED}.toml"),
        ("train", RED),
        (RED,),
        ("status", run),
        ("train", "tiny", "--set", f"{RED}=1"),
    ]
    for command in commands:
        result = invoke(*command)
        assert not set(RED) & set(result.output) - set("[31m"), command
        assert "\\x1b" in result.output, command


def test_every_command_prints_through_one_function():
    for path in Path(minigrok_cli.__file__).parent.glob("*.py"):
        assert path.name == "echo.py" or "click.echo" not in path.read_text()
