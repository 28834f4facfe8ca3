"""Memory, start-up and the busy neighbour measure what they say."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fakes
import pytest

from minigrok.bench import machine
from minigrok.bench.pipe import PeerError

TRAIN = """
import os, pathlib, sys
folder = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
print(sys.argv[1:], folder, folder.exists(), file=open({log!r}, "a"), sep="|")
folder.mkdir(exist_ok=True)
assert not pathlib.Path(sys.argv[-1]).exists()
"""


def quiet(done: int, total: int, words: str) -> None:
    """Show nothing."""


def test_seconds_are_those_of_the_whole_process() -> None:
    code = "import time; time.sleep(0.2)"
    start = time.perf_counter()
    found = machine._seconds((sys.executable, "-c", code), dict(os.environ))
    assert 0.2 < found <= time.perf_counter() - start
    with pytest.raises(PeerError, match="No module named 'no_such_module'"):
        machine._seconds((sys.executable, "-c", "import no_such_module"), dict(os.environ))


def test_the_first_of_several_starts_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(machine, "_seconds", lambda command, variables: float(next(seconds)))
    row = machine._repeat("x", ("x",), fakes.settings(), quiet)
    assert row == {"what": "x", "seconds": [1.0, 2.0, 3.0, 4.0, 5.0]}


def test_training_starts_cold_once_and_warm_afterwards(tmp_path: Path) -> None:
    script, log = tmp_path / "train.py", tmp_path / "log"
    script.write_text(TRAIN.format(log=str(log)))
    settings = fakes.settings(command=(sys.executable, str(script)))
    cold, warm = machine._trainings(settings, quiet)
    assert (cold["what"], len(cold["seconds"])) == ("minigrok train to the first step, cold cache", 1)
    assert (warm["what"], len(warm["seconds"])) == ("minigrok train to the first step, warm cache", machine.REPEATS)
    arguments, folders, existed = zip(*(line.split("|") for line in log.read_text().splitlines()), strict=True)
    assert all("'train.max_steps=1'" in line for line in arguments)
    assert len(set(folders)) == 1, "the warm starts find what the cold one left"
    assert existed == ("False", *machine.REPEATS * ("True",))


def test_starts_of_everything(monkeypatch: pytest.MonkeyPatch, contenders: None) -> None:
    """A peer or a package that is not there gets a line that says so."""
    commands: list[Any] = []

    def seconds(command: Any, variables: dict[str, str]) -> float:
        commands.append(command)
        if command[-1] == "import jax":
            raise PeerError("import jax to succeed", "ModuleNotFoundError: No module named 'jax'", "")
        return 1.0

    monkeypatch.setattr(machine, "_seconds", seconds)
    rows = {row["what"]: row for row in machine.startup(fakes.settings(peers=("absent",)), quiet)}
    assert rows["minigrok --help"]["seconds"] == machine.REPEATS * [1.0]
    assert "No module named 'jax'" in rows["import jax"]["error"]
    assert rows["first step from a script: Absent"]["error"].startswith("not installed")
    assert len(rows["first step from a script: minigrok"]["seconds"]) == 1
    assert (*fakes.settings().command, "--help") in commands


def test_memory_is_that_of_a_process_that_trained(contenders: None) -> None:
    own, twin, absent = machine.memory(fakes.settings(peers=("twin", "absent")), quiet)
    assert 2e7 < own["peak_bytes"] < 1e9
    assert abs(own["peak_bytes"] - twin["peak_bytes"]) < 0.2 * own["peak_bytes"], "the same work in the same program"
    assert "not installed" in absent["error"]


def test_a_busy_process_spins_within_the_block_on_those_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*arguments, **options))
        return started[0]

    module: Any = type("subprocess", (), {"Popen": staticmethod(popen)})
    monkeypatch.setattr(machine, "subprocess", module)
    cpus = fakes.settings().cpus
    with machine.busy(cpus):
        (spinner,) = started
        assert spinner.poll() is None
        if hasattr(os, "sched_getaffinity"):
            assert os.sched_getaffinity(spinner.pid) == set(cpus)
        stat = Path(f"/proc/{spinner.pid}/stat")
        if stat.exists():
            time.sleep(0.3)
            ticks = int(stat.read_text().rpartition(")")[2].split()[11])
            assert ticks > 0, "it works, and does not only wait"
    assert spinner.returncode is not None


def test_a_busy_process_ends_however_the_block_ends() -> None:
    block = machine.busy(fakes.settings().cpus)
    block.__enter__()
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("this system does not list the children of a process")
    running = set(children.read_text().split())
    assert running
    assert not block.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert len(running - set(children.read_text().split())) == 1
