from pathlib import Path
from typing import Any

import fakes
import pytest

from minigrok.bench import gate, rounds
from minigrok.bench import settings as bench_settings
from minigrok.bench.settings import CONTENDERS, Contender

NAMES = ("sleeper", "chatty", "broken", "dead", "wrong", "twin", "unable", "absent")


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the contenders of fakes.py take part; "absent" needs a package that nobody has."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    for name in NAMES:
        package = "no_such_package" if name == "absent" else "numpy"
        monkeypatch.setitem(CONTENDERS, name, Contender(name.title(), "fakes", package, f"{name}==1.0"))
    monkeypatch.setattr(bench_settings, "PEERS", NAMES)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, contenders: None) -> Any:
    """Replace the workers by scripted ones; the gate compares what the script says."""
    script = type("Script", (fakes.Scripted,), {"orders": [], "times": {}, "outcomes": {}})
    monkeypatch.setattr(rounds, "Worker", script)
    monkeypatch.setattr(rounds, "PAUSE", 0.0)
    monkeypatch.setattr(rounds, "outcome", lambda worker: script.outcomes[worker.name])
    assert rounds.require_agreement is gate.require_agreement
    return script
