"""Memory, disk and time of a training are reckoned before anything is made; a start that fails is in nobody's way."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from minigrok.config import Config, Task, preset, preset_names, with_settings
from minigrok.engine import memory
from minigrok.errors import ConfigError, MinigrokError
from minigrok.storage.runs import create, open_run
from minigrok.training import budget
from minigrok.training import train as training

TINY = with_settings(preset("tiny"), ["train.max_steps=1", "compute.engine=cpu"])


@pytest.mark.parametrize("name", preset_names())
def test_what_comes_with_minigrok_has_room_on_a_laptop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "available_memory", lambda: 10**9)
    budget.require_room(preset(name))


@pytest.mark.parametrize(
    "setting",
    [
        "task.p=100003",
        "compute.shards=1000000000",
        "train.batch_size=1000000000",
        "model.mlp_width=1000000000",
        "model.width=1000000000",
        "train.max_steps=1000000000000",
    ],
)
def test_what_cannot_end_well_is_refused_at_once_and_leaves_nothing(setting: str, tmp_path: Path) -> None:
    config = with_settings(TINY, [setting, "train.stop_when_grokked=false"])
    with pytest.raises(ConfigError, match=r"required: [\d,.]+ GB of (memory|disk).* - got: [\d,.]+ [kMG]B"):
        budget.require_room(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "setting",
    ["task.p=2305843009213693951", "task.p=2000003", "model.blocks=1000000000", "compute.shards=1" + 400 * "0"],
)
def test_settings_are_bounded_where_reading_them_would_hang(setting: str) -> None:
    with pytest.raises(ConfigError):
        with_settings(TINY, [setting])


def test_the_first_evaluation_comes_within_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "available_memory", lambda: 10**30)
    with pytest.raises(ConfigError, match="days or more"):
        budget.require_room(with_settings(TINY, ["task.p=1999993"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [["task.p=499"], ["model.width=2048"], ["train.batch_size=100000"], ["model.blocks=40"]]
)
def test_the_memory_reckoned_is_a_lower_bound_and_no_idle_one(settings: list[str], tmp_path: Path) -> None:
    code = "import sys; from minigrok.config import *; from minigrok.training.train import train; \
from minigrok.storage.runs import create; from pathlib import Path; import re; \
peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]); before = peak(); \
run = create(Path(sys.argv[1]), from_toml(sys.argv[2])); train(run, 1); print(peak() - before)"
    from minigrok.config import to_toml

    config = with_settings(TINY, settings)
    command = [sys.executable, "-c", code, str(tmp_path / "run"), to_toml(config)]
    taken = 1024 * int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 0.2 * taken < budget.memory(config) < 1.1 * taken


def test_available_memory_is_the_least_of_all_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert 0 < memory.available_memory() < 2**50
    (tmp_path / "a").mkdir()
    for folder, most in ((tmp_path, "max"), (tmp_path / "a", "5000000")):
        (folder / "memory.max").write_text(most)
        (folder / "memory.current").write_text("2000000")
        (folder / "memory.stat").write_text("anon 1\ninactive_file 1000000\n")
    files = ("memory.max", "memory.current")
    assert memory._left_of(tmp_path / "a", *files) == 4_000_000
    assert memory._left_of(tmp_path, *files) == memory.PLENTY
    assert memory._left_of(tmp_path / "nowhere", *files) == memory.PLENTY
    monkeypatch.setattr(memory, "_of_group", lambda: 7)
    assert memory.available_memory() == 7


def test_a_limit_of_the_shell_counts() -> None:
    code = "from minigrok.engine.memory import available_memory as a; print(a())"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 10**9, 4 * 10**9))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, preexec_fn=limit)
    assert 0 < int(done.stdout) < 4 * 10**9


def test_a_start_that_fails_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    for theta in (None, training.Trainer(TINY, 1).theta):
        with monkeypatch.context() as patch:
            patch.setattr(training, "Trainer", no_memory)
            with pytest.raises(MemoryError), create(tmp_path / "run", TINY, theta) as run:
                training.train(run, 1)
        with create(tmp_path / "run", with_settings(TINY, ["seed=7"])) as run:
            training.train(run, 1)
        assert open_run(tmp_path / "run").config.seed == 7
        (tmp_path / "run").rename(tmp_path / f"done{theta is None}")


def test_a_run_that_was_begun_is_never_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with create(tmp_path / "run", TINY) as run:
        training.train(run, 1)
    before = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    monkeypatch.setattr(budget, "available_memory", lambda: 0)
    with pytest.raises(MinigrokError, match="of memory"), open_run(tmp_path / "run") as run:
        training.train(run, 1)
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == before


def test_the_bound_of_p_is_that_of_the_cube() -> None:
    assert Task(p=1_999_993).p ** 3 < 2**63
    assert Config("x", task=Task(p=1_999_993)).task.n_pairs < 2**63
