"""The cache of compiled functions: what is in its key, who may write it, and what damage does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minigrok.engine.cache import code_settings

SUM = """
import numpy as np
from minigrok.engine import open_engine
from minigrok.layers.sums import column_sums
from minigrok.engine.cache import cache_folder
out = np.zeros(3)
open_engine("cpu", "float64").rows(column_sums, 3, np.arange(12.0).reshape(4, 3), out)
print(out.tolist(), cache_folder())
"""
TOTAL = "[18.0, 22.0, 26.0]"


def summed(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Sum columns in a process of its own, with its compiled functions in a folder."""
    everything = os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment
    return subprocess.run([sys.executable, "-c", SUM], env=everything, capture_output=True, text=True, check=False)


def folder_of(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(TOTAL)
    return Path(done.stdout.split()[-1])


def test_a_setting_of_numba_that_changes_code_has_a_folder_of_its_own(tmp_path: Path) -> None:
    plain = folder_of(summed(tmp_path))
    settings = ("BOUNDSCHECK=1", "OPT=0", "LOOP_VECTORIZE=0", "SLP_VECTORIZE=1", "CPU_NAME=haswell", "DEBUGINFO=1")
    others = [folder_of(summed(tmp_path, **{f"NUMBA_{s.partition('=')[0]}": s.partition("=")[2]})) for s in settings]
    assert len({plain, *others}) == 1 + len(settings)
    assert plain == folder_of(summed(tmp_path, NUMBA_NUM_THREADS="1", NUMBA_COLOR_SCHEME="dark_bg"))


def test_a_setting_of_a_later_numba_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_settings()
    monkeypatch.setattr("numba.config.UNROLL_EVERYTHING", 1, raising=False)
    assert code_settings() != before


def test_kernels_that_are_not_compiled_are_refused(tmp_path: Path) -> None:
    done = summed(tmp_path, NUMBA_DISABLE_JIT="1")
    assert done.returncode != 0
    assert "NUMBA_DISABLE_JIT" in done.stderr


def test_a_file_that_is_damaged_anywhere_is_made_anew_and_said(tmp_path: Path) -> None:
    folder = folder_of(summed(tmp_path))
    files = sorted(path for path in folder.rglob("*.nb?"))
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    for path in files:
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 4
        for damaged in (b"", bytes(flipped)):
            path.write_bytes(damaged)
            done = summed(tmp_path)
            assert folder_of(done) == folder
            assert "damaged" in done.stderr, "said"
            assert "damaged" not in summed(tmp_path).stderr, "made anew"


def test_without_a_place_for_them_functions_are_compiled_each_time_and_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = summed(tmp_path / "file" / "cache")
    assert done.stdout.startswith(TOTAL)
    assert "not kept" in done.stderr


def test_the_folder_is_its_users_alone_and_one_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = folder_of(summed(tmp_path / "cache"))
    assert folder.stat().st_mode & 0o777 == 0o700
    for open_one in (folder, folder.parent):
        open_one.chmod(0o777)
        done = summed(tmp_path / "cache")
        assert done.returncode != 0
        assert f"{open_one} can be written by others" in done.stderr
        open_one.chmod(0o700)
    folder.parent.chmod(0o1777)  # as /tmp: nobody can take the folder away
    assert folder_of(summed(tmp_path / "cache")) == folder


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = folder_of(summed(tmp_path))
    os.chown(folder, 12345, -1)
    done = summed(tmp_path)
    assert done.returncode != 0
    assert "is another user's" in done.stderr
