"""Settings of Numba, BLAS, C library or matplotlib in the environment: the same portable bits, or refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from campaigns import Campaign
from kills import contents
from small_sweeps import small

from minigrok.config import to_toml, with_settings

CONFIG = with_settings(small(seeds=(1,)).configs[0], ["compute.portable=true"])
SETTINGS = (
    "NUMBA_BOUNDSCHECK=1",
    "NUMBA_OPT=0",
    "NUMBA_LOOP_VECTORIZE=0",
    "NUMBA_SLP_VECTORIZE=1",
    "NUMBA_DISABLE_JIT=1",
    "NUMBA_CPU_NAME=generic",
    "NUMBA_CPU_FEATURES=",
    "NUMBA_DEBUGINFO=1",
    "NUMBA_ENABLE_AVX=0",
    "NUMBA_FASTMATH=1",
    "NUMBA_NUM_THREADS=1",
    "NUMBA_THREADING_LAYER=workqueue",
    "OPENBLAS_CORETYPE=Prescott",
    "OPENBLAS_NUM_THREADS=2",
    "OPENBLAS_L2_SIZE=64",
    "OMP_NUM_THREADS=2",
    "MKL_NUM_THREADS=2",
    "NPY_DISABLE_CPU_FEATURES=AVX512F AVX512_SKX",
    "PYTHONHASHSEED=7",
    "PYTHONOPTIMIZE=2",
    "PYTHONMALLOC=malloc",
    "MALLOC_ARENA_MAX=1",
    "MALLOC_PERTURB_=165",
    "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA",
    "LC_ALL=C",
    "TZ=Pacific/Kiritimati",
    "SOURCE_DATE_EPOCH=1",
)
RC = (
    "text.usetex: True",
    "font.size: 30",
    "savefig.dpi: 10",
    "svg.fonttype: path",
    "axes.prop_cycle: cycler('color', ['k'])",
    "figure.figsize: 1, 1",
    "savefig.bbox: tight",
    "path.simplify: False",
    "axes.formatter.use_locale: True",
    "backend: nonsense",
)


def minigrok(top: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "minigrok_cli", *words]
    return subprocess.run(
        command, cwd=top, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=600
    )


def trained(top: Path, name: str, **environment: str) -> tuple[int, str, dict[str, Any]]:
    (top / "small.toml").write_text(to_toml(CONFIG))
    done = minigrok(top, "train", "small.toml", "--out", name, **environment)
    files = contents(top / name) if (top / name).is_dir() else {}
    return done.returncode, done.stderr, {k: x for k, x in files.items() if k.startswith(("snapshots/", "metrics"))}


def judge(campaign: Campaign, said: str, found: tuple[int, str, Any], expected: Any) -> None:
    """Count a case: the same, or refused in three parts."""
    code, text, files = found
    campaign.cases += 1
    if "Traceback" in text or (code and "required:" not in text):
        campaign.failed.append(f"{said}: exit {code}: {text[-300:]}")
    if not code and files != expected:
        campaign.silent.append(said)


def attack(top: Path, settings: tuple[str, ...], campaign: Campaign) -> None:
    code, text, expected = trained(top, "alone")
    assert code == 0, text
    for i, setting in enumerate(settings):
        name, _, value = setting.partition("=")
        judge(campaign, setting, trained(top, f"run{i}", **{name: value}), expected)


def drawn(top: Path, rc: str) -> tuple[int, str, dict[str, bytes]]:
    (top / "rc").mkdir(exist_ok=True)
    (top / "rc" / "matplotlibrc").write_text(rc + "\n")
    done = minigrok(top, "plot", "alone", MPLCONFIGDIR=str(top / "rc"))
    return done.returncode, done.stderr, {k: x for k, x in contents(top / "alone").items() if k.startswith("training")}


def test_a_few_settings(tmp_path: Path, campaign: Campaign) -> None:
    attack(tmp_path, SETTINGS[:1] + SETTINGS[12:13], campaign)


@pytest.mark.torture
def test_settings(tmp_path: Path, campaign: Campaign) -> None:
    attack(tmp_path, SETTINGS, campaign)


@pytest.mark.torture
def test_settings_of_pictures(tmp_path: Path, campaign: Campaign) -> None:
    assert trained(tmp_path, "alone")[0] == 0
    _, _, expected = drawn(tmp_path, "")
    for rc in RC:
        judge(campaign, rc, drawn(tmp_path, rc), expected)
