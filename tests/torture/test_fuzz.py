"""Fuzzed configurations, settings, sweep files and run folders: never a traceback, a hang, or memory without bound."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BAD = ("tracebacks", "hangs", "over the memory bound", "reasons missing")


def run_campaign(folder: Path, cases: int, seed: int) -> None:
    """Run a campaign of so many cases of each kind in a process of its own, print its counts, and judge it."""
    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, str(script), str(folder), str(cases), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    counts = {name: 0 for name in BAD} | report["counts"]
    print("\n".join([f"{number:6,} {name}" for name, number in counts.items()] + report["failures"]))
    assert not any(counts[name] for name in BAD), "\n".join(report["failures"][:20])


def test_a_slice_of_the_campaign(tmp_path: Path) -> None:
    run_campaign(tmp_path, cases=8, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_the_campaign(tmp_path: Path, seed: int) -> None:
    run_campaign(tmp_path, cases=150, seed=seed)
