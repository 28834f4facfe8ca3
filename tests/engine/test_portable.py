"""Portable mode: everything that would change its bits is fixed, or refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minigrok.engine import portable
from minigrok.engine.threads import available_threads
from minigrok.errors import EngineError

ASK = "from minigrok.engine import portable; print(portable.obstacles())"
COMMAND = [sys.executable, "-m", "minigrok_cli"]


def obstacles(**environment: str) -> str:
    everything = os.environ | portable.SETTINGS | environment
    done = subprocess.run([sys.executable, "-c", ASK], env=everything, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_another_kind_of_processor_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable.platform, "machine", lambda: "arm64")
    with pytest.raises(EngineError, match=r"x86-64.*arm64.*leave out --portable"):
        portable.restart()


def test_the_settings_are_enough() -> None:
    assert obstacles() == "[]"


@pytest.mark.parametrize(
    "setting",
    [
        *("BOUNDSCHECK=1", "LOOP_VECTORIZE=0", "SLP_VECTORIZE=1", "OPT=0", "OPT=max", "DISABLE_JIT=1", "DEBUGINFO=1"),
        *("CPU_NAME=znver4", "CPU_FEATURES=+avx512f", "ENABLE_AVX=0", "LLVM_REFPRUNE_PASS=0"),
    ],
)
def test_a_setting_of_numba_that_changes_code_is_an_obstacle(setting: str) -> None:
    name, _, value = setting.partition("=")
    assert f"Numba's {name} is {value}" in obstacles(**{f"NUMBA_{name}": value})


def test_other_kernels_of_blas_are_an_obstacle() -> None:
    assert "Nehalem kernels" in obstacles(OPENBLAS_CORETYPE="Nehalem")


def test_a_c_library_without_some_instructions_is_an_obstacle() -> None:
    assert "GLIBC_TUNABLES" in obstacles(GLIBC_TUNABLES="glibc.cpu.hwcaps=-FMA,-AVX2")


@pytest.mark.skipif(available_threads() < 2, reason="OpenBLAS takes no more threads than there are CPUs")
def test_several_threads_of_blas_are_an_obstacle() -> None:
    assert "works on 2 threads" in obstacles(OPENBLAS_NUM_THREADS="2")


def test_a_process_without_the_settings_is_told_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "obstacles", lambda: ["one thing"])
    with pytest.raises(Exception, match=r"OPENBLAS_CORETYPE=Haswell .*NUMBA_BOUNDSCHECK=0"):
        portable.require()


@pytest.mark.parametrize(
    "setting", ["NUMBA_BOUNDSCHECK=1", "NUMBA_OPT=0", "NUMBA_SLP_VECTORIZE=1", "NUMBA_DISABLE_JIT=1"]
)
def test_the_command_line_fixes_what_the_environment_says(tmp_path: Path, setting: str) -> None:
    """The same run again, in a hostile environment: the same bits."""
    sizes = ("task.p=5", "model.width=8", "model.heads=2", "model.mlp_width=8", "train.max_steps=5")
    train = [*COMMAND, "train", "tiny", "--portable", *(word for size in sizes for word in ("--set", size))]
    name, _, value = setting.partition("=")
    for out, environment in (("plain", {}), ("hostile", {name: value})):
        done = subprocess.run(
            [*train, "--out", str(tmp_path / out)], env=os.environ | environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    ends = [tmp_path / out / "snapshots" / "000005.safetensors" for out in ("plain", "hostile")]
    assert ends[0].read_bytes() == ends[1].read_bytes()
