"""Resuming with other versions than a run was begun with: said in a plain line, or refused where bits are promised."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from minigrok.storage.files import SEAL, seal

SMALL = """
name = "small"
[task]
p = 5
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


def minigrok(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "minigrok_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return the folder of a run that grokked, by a low bar, and was begun with another NumPy."""
    (tmp_path / "small.toml").write_text(SMALL)
    folder = tmp_path / "run"
    done = minigrok("train", tmp_path / "small.toml", "--out", folder, *getattr(request, "param", []))
    assert done.returncode == 0, done.stderr
    path = folder / "config.toml"
    text = re.sub(r'^numpy = ".*"$', 'numpy = "0.1"', path.read_text(), flags=re.M)
    start = text.index("[minigrok]")
    table = re.sub("sha256:[0-9a-f]*", SEAL, text[start:])
    path.write_bytes(text[:start].encode() + seal(table.encode()))
    return folder


def test_a_resume_says_other_versions_in_one_plain_line(run: Path) -> None:
    shown = minigrok("resume", run)
    assert "warning" not in shown.stderr, "it is finished: no further bit is made"
    done = minigrok("resume", run, "--after-grok", 5)
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "numpy 0.1" in line]
    assert said.startswith("warning: ")
    assert ".py" not in done.stderr


@pytest.mark.parametrize("run", [["--portable"]], indirect=True)
def test_a_portable_run_refuses_other_versions_and_goes_on_if_asked(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused = minigrok("resume", run, "--after-grok", 5)
    assert refused.returncode == 3
    assert "numpy 0.1" in refused.stderr
    assert all(part in refused.stderr for part in ("required:", "got:", "do:", "--other-versions"))
    assert before == {path: path.read_bytes() for path in before}
    done = minigrok("resume", run, "--after-grok", 5, "--other-versions")
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
