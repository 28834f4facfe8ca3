"""What a sitting says before it starts."""

import subprocess
import sys

COMMAND = [sys.executable, "-m", "minigrok_cli"]
SMALL = """
name = "small"
task.p = 5
model = { width = 4, heads = 2, mlp_width = 4, blocks = 1 }
train.batch_size = 4
"""


def test_a_cold_compile_is_announced_once_a_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))

    def announced(out, *settings):
        command = [*COMMAND, "train", "small.toml", "--threads", "1", "--out", out, *settings]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return "compiling may take about" in done.stderr.splitlines()[2]

    one_step = ["--set", "train.max_steps=1"]
    assert announced("a", *one_step)
    assert not announced("b", *one_step)
    assert announced("c", *one_step, "--set", "compute.dtype=float64")
