"""What a measurement depends on is kept beside it."""

import json
from datetime import datetime

import fakes
import pytest

from minigrok.bench import environment


def test_versions_machine_load_and_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PEER_PACKAGES", ("numpy", "no-such-package"))
    found = json.loads(json.dumps(environment.describe(fakes.settings())))
    assert found["peers"]["no-such-package"] is None
    assert found["peers"]["numpy"][0].isdigit()
    assert found["cpus"] == fakes.settings().cpus
    assert len(found["load_average"]) == 3
    assert datetime.fromisoformat(found["date"]).tzinfo is not None
