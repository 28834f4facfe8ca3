"""The CUDA engine without a device: its own tests in Numba's simulator, and what is said where it cannot run."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner
from minigrok_cli.main import main

from minigrok.config import Compute, preset, with_settings
from minigrok.engine import chosen, device, open_engine
from minigrok.engine.device import Device, Found, problem
from minigrok.errors import ConfigError, EngineError
from minigrok.network.objective import Objective
from minigrok.storage.runs import create
from minigrok.tasks import pairs

SIMULATOR = Path(__file__).parents[1] / "simulator"
H100 = Device("NVIDIA H100", (9, 0), 80 * 2**30)
WORKING = Found("0.30.4", "13.0", "13.0.88", (H100,))
needs_numba_cuda = pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs the extra [cuda]")


def in_simulator(*arguments, **options):
    settings = {"NUMBA_ENABLE_CUDASIM": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False, **options)


@needs_numba_cuda
@pytest.mark.slow
@pytest.mark.parametrize("name", ["engine", "objective", "train", "sweep", "analyses"])
def test_in_the_simulator(name):
    done = in_simulator("-m", "pytest", "-q", "-p", "no:cacheprovider", str(SIMULATOR / f"sim_{name}.py"))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    print(done.stdout[-200:])


# --- what there is, and what is missing


@pytest.mark.parametrize(
    ("found", "got", "do"),
    [
        (Found(None, None, None, ()), "numba-cuda is not installed", "'.[cuda]'"),
        (WORKING._replace(driver=None, devices=()), "no NVIDIA driver", "--engine cpu"),
        (WORKING._replace(driver="12.4"), "a driver for CUDA 12.4", "580 or newer"),
        (WORKING._replace(devices=()), "no device", "CUDA_VISIBLE_DEVICES"),
        (WORKING._replace(toolkit=None), "no CUDA 13 compiler libraries", "'.[cuda]'"),
        (WORKING._replace(devices=(H100._replace(capability=(7, 5)),)), "compute capability 7.5", "--engine cpu"),
    ],
)
def test_what_is_missing_is_named(found, got, do, monkeypatch):
    trouble = problem(found)
    assert got in trouble.got
    assert do in trouble.do
    assert trouble.exit_code == 3
    monkeypatch.setattr(device, "look", lambda: found)
    with pytest.raises(EngineError, match=got):
        open_engine("cuda", "float32")
    name, why = chosen("auto")
    assert name == "cpu"
    assert got in why


def test_a_working_device_is_chosen_and_described(monkeypatch):
    assert problem(WORKING) is None
    monkeypatch.setattr(device, "look", lambda: WORKING)
    assert chosen("auto") == ("cuda", "engine auto: cuda")
    assert chosen("plain") == ("plain", "")
    assert WORKING.note == "driver for CUDA 13.0; NVIDIA H100 (sm_90, 80 GiB); toolkit 13.0.88"


def test_errors_of_the_driver_are_told_from_others():
    assert device.lost(error := ValueError("mine")) is error
    of_driver = type("CudaAPIError", (Exception,), {"__module__": "numba.cuda.cudadrv.driver"})("LAUNCH_FAILED")
    assert isinstance(device.lost(of_driver), EngineError)
    assert "LAUNCH_FAILED" in device.lost(of_driver).got


def test_portable_bits_and_a_device_exclude_each_other():
    with pytest.raises(ConfigError, match="portable"):
        Compute(engine="cuda", portable=True)


# --- this machine, whatever it has


def command(*arguments, **environment):
    call = [sys.executable, "-m", "minigrok_cli", *arguments]
    return subprocess.run(call, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(problem(device.look()) is None, reason="there is a device")
def test_without_a_device_the_exit_code_is_3_and_nothing_is_written(tmp_path):
    done = command("train", "tiny", "--engine", "cuda", "--out", str(tmp_path / "run"))
    assert done.returncode == 3
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()] == ["Error", "required", "got", "do"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", "--engine", "cuda"], 3),
        (["bench", "--engine", "cuda"], 3),
        (["bench", "--engine", "cuda", "--replicas", "0"], 2),
        (["bench", "--engine", "cuda", "step"], 2),
        (["sweep", "paper-dual", "--engine", "cuda", "--plan"], 3),
    ],
)
def test_commands_tell_wrong_use_from_a_missing_device(arguments, code, monkeypatch):
    monkeypatch.setattr(device, "look", lambda: WORKING._replace(driver=None, devices=()))
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == code, done.output
    assert ("no NVIDIA driver" in done.output) == (code == 3)


def test_a_run_of_a_device_is_not_resumed_or_analysed_without_one(tmp_path, monkeypatch):
    config = with_settings(preset("tiny"), ("compute.engine=cuda",))
    create(tmp_path / "run", config).close()
    monkeypatch.setattr(device, "look", lambda: WORKING._replace(driver=None, devices=()))
    for arguments in (["resume"], ["analyse", "hessian"]):
        done = CliRunner().invoke(main, [*arguments, str(tmp_path / "run")])
        assert done.exit_code == 3, done.output
        assert "go where a GPU is" in done.output


@pytest.mark.parametrize(("package", "toolkit"), [(None, "13.0"), ("0.30.4", None)])
def test_kernels_are_not_compiled_without_a_compiler(package, toolkit, monkeypatch):
    monkeypatch.setattr(device, "_version", lambda name: package)
    monkeypatch.setattr(device, "_toolkit", lambda: toolkit)
    with pytest.raises(EngineError, match=r"NVVM and NVRTC.*\.\[cuda\]"):
        device.require_compiler()


@pytest.mark.skipif(problem(device.look()) is None, reason="there is a device")
def test_auto_falls_back_to_the_cpu_and_says_so(tmp_path):
    done = command("train", "tiny", "--engine", "auto", "--set", "train.max_steps=1", "--out", str(tmp_path / "run"))
    assert done.returncode == 0
    assert "engine auto: cpu, because there is" in done.stderr
    assert 'engine = "cpu"' in (tmp_path / "run" / "config.toml").read_text()
    config = preset("tiny")
    data = pairs(config.task, 0)
    objective = Objective(config, data.tokens[:2], data.targets[:, :2], engine="auto")
    assert type(objective._net).__name__ == "Sharded"


def test_info_tells_what_there_is_for_cuda():
    found = json.loads(command("info", "--json").stdout)
    assert found["cuda"].keys() == {"package", "driver", "toolkit", "devices", "simulator", "auto"}
    assert {engine["name"] for engine in found["engines"]} == {"cpu", "plain", "cuda"}
    assert found["cuda"]["auto"] == chosen("auto")[0]
    assert "CUDA driver" in command("info").stdout


@needs_numba_cuda
def test_the_command_trains_in_the_simulator(tmp_path):
    small = [
        f"--set={s}" for s in ("task.p=5", "model.width=4", "model.heads=2", "model.mlp_width=3", "train.batch_size=6")
    ]
    arguments = [
        "train",
        "tiny",
        *small,
        "--set",
        "train.max_steps=1",
        "--engine",
        "cuda",
        "--out",
        str(tmp_path / "run"),
    ]
    done = in_simulator("-m", "minigrok_cli", *arguments)
    assert done.returncode == 0, done.stderr
    assert "engine cuda, float32" in done.stderr
    assert (tmp_path / "run" / "metrics.csv").read_text().count("\n") == 2
