"""Every command, killed or with a failing call at any place: given once more it ends with the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import Campaign

TESTS = Path(__file__).parents[1]


def tried(tmp_path: Path, kind: str, most: int, campaign: Campaign) -> None:
    script, paths = Path(__file__).with_name("trials.py"), [TESTS.parent, TESTS, Path(__file__).parent]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, str(script), str(tmp_path), kind, str(most)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout.splitlines()[-1])
    campaign.cases += counted["cases"]
    campaign.failed += counted["failed"]
    campaign.silent += counted["silent"]


@pytest.mark.parametrize("kind", ["kills", "errors"])
def test_at_a_few_calls(tmp_path: Path, kind: str, campaign: Campaign) -> None:
    tried(tmp_path, kind, 2, campaign)


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["kills", "errors"])
def test_at_every_call(tmp_path: Path, kind: str, campaign: Campaign) -> None:
    tried(tmp_path, kind, 10**6, campaign)
