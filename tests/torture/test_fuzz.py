"""Fuzzed configurations, settings, sweep files and run folders: never a traceback, a hang, or memory without bound."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import Campaign

BAD = ("tracebacks", "hangs", "over the memory bound", "reasons missing")


def attack(folder: Path, cases: int, seed: int, campaign: Campaign) -> None:
    """Try so many cases of each kind in a process of its own."""
    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, str(script), str(folder), str(cases), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    campaign.cases += report["counts"]["cases"]
    campaign.failed += report["failures"] or [name for name in BAD if report["counts"].get(name)]


def test_a_slice_of_the_campaign(tmp_path: Path, campaign: Campaign) -> None:
    attack(tmp_path, 8, 1, campaign)


@pytest.mark.torture
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_the_campaign(tmp_path: Path, seed: int, campaign: Campaign) -> None:
    attack(tmp_path, 150, seed, campaign)
