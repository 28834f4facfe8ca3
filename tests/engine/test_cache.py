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
from minigrok.engine.cache import usable_folder
out = np.zeros(3)
open_engine("cpu", "float64").rows(column_sums, 3, np.arange(12.0).reshape(4, 3), out)
print(out.tolist(), usable_folder())
"""
TOTAL = "[18.0, 22.0, 26.0]"


def summed(cache: Path, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Sum columns in a process of its own, in a folder, with its compiled functions in another one."""
    everything = os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment
    command = [sys.executable, "-c", SUM]
    return subprocess.run(command, env=everything, cwd=folder, capture_output=True, text=True, check=False)


def folder_of(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(TOTAL)
    return Path(done.stdout.split()[-1])


def files(done: subprocess.CompletedProcess[str]) -> list[Path]:
    return sorted(folder_of(done).iterdir())


def test_a_setting_of_numba_that_changes_code_has_files_of_its_own(tmp_path: Path) -> None:
    settings = ("BOUNDSCHECK=1", "OPT=0", "LOOP_VECTORIZE=0", "SLP_VECTORIZE=1", "CPU_NAME=haswell", "DEBUGINFO=1")
    known = files(summed(tmp_path))
    assert len(known) == 1
    for setting in settings:
        name, _, value = setting.partition("=")
        found = files(summed(tmp_path, **{f"NUMBA_{name}": value}))
        assert len(found) == len(known) + 1, setting
        known = found
    assert known == files(summed(tmp_path, NUMBA_NUM_THREADS="1", NUMBA_COLOR_SCHEME="dark_bg"))


def test_settings_in_numbas_own_file_are_in_the_key(tmp_path: Path) -> None:
    known = files(summed(tmp_path / "cache"))
    (tmp_path / ".numba_config.yaml").write_text("boundscheck: 1\n")
    (tmp_path / "yaml.py").write_text("def safe_load(file): return {'boundscheck': 1}")  # as PyYAML would
    done = summed(tmp_path / "cache", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert len(files(done)) == len(known) + 1


def test_a_setting_that_comes_while_the_process_runs_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_settings()
    monkeypatch.setenv("NUMBA_SLP_VECTORIZE", "1")
    assert code_settings() != before
    monkeypatch.undo()
    assert code_settings() == before


def test_a_setting_of_a_later_numba_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_settings()
    monkeypatch.setattr("numba.config.UNROLL_EVERYTHING", 1, raising=False)
    assert code_settings() != before


def test_kernels_that_are_not_compiled_are_refused(tmp_path: Path) -> None:
    done = summed(tmp_path, NUMBA_DISABLE_JIT="1")
    assert done.returncode != 0
    assert "NUMBA_DISABLE_JIT" in done.stderr


def test_a_file_that_is_damaged_anywhere_is_made_anew_and_said(tmp_path: Path) -> None:
    (path,) = files(summed(tmp_path))
    whole = path.read_bytes()
    flipped = [bytearray(whole), bytearray(whole)]
    flipped[0][3] ^= 4  # in the checksum
    flipped[1][len(whole) // 2] ^= 4
    for damaged in (b"", whole[:20], whole[:-1], *map(bytes, flipped)):
        path.write_bytes(damaged)
        done = summed(tmp_path)
        assert files(done) == [path]
        assert done.stderr.count("made anew") == 1, "said"
        assert path.stat().st_size >= len(whole) - 100
        assert not summed(tmp_path).stderr, "made anew"


def test_a_file_in_the_place_of_another_is_not_run(tmp_path: Path) -> None:
    (path,) = files(summed(tmp_path))
    other = next(each for each in files(summed(tmp_path, NUMBA_BOUNDSCHECK="1")) if each != path)
    path.write_bytes(other.read_bytes())
    assert "made anew" in summed(tmp_path).stderr


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    (path,) = files(summed(tmp_path))
    path.unlink()
    os.mkfifo(path)
    done = summed(tmp_path)
    assert files(done) == [path]
    assert "made anew" in done.stderr
    assert path.is_file()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "made anew" in summed(tmp_path).stderr
    assert not path.is_symlink()


def test_without_a_place_for_them_functions_are_compiled_each_time_and_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = summed(tmp_path / "file" / "cache")
    assert done.stdout.startswith(TOTAL)
    assert done.stderr.count("not kept") == 1


def test_a_user_without_a_home_has_a_cache_among_the_temporary_files(tmp_path: Path) -> None:
    line = "import pwd, os; pwd.getpwuid = lambda uid: {}[uid]; os.environ.pop('HOME', None)"
    environment = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    command = [sys.executable, "-c", f"{line}\n{SUM}"]
    done = subprocess.run(command, env=environment | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert folder_of(done).is_relative_to(tmp_path)


def test_a_full_disk_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    line = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"  # bytes a file
    line += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", line + SUM], env=environment, capture_output=True, text=True)
    assert files(done) == []
    assert done.stderr.count("not kept") == 1


def test_the_folder_is_its_users_alone_and_one_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = folder_of(summed(tmp_path / "new" / "cache"))
    assert {each.stat().st_mode & 0o777 for each in (folder, folder.parent, folder.parent.parent)} == {0o700}
    for open_one in (folder, folder.parent, folder.parent.parent):
        open_one.chmod(0o777)
        done = summed(tmp_path / "new" / "cache")
        assert done.returncode != 0
        assert f"{open_one} can be written by others" in done.stderr
        open_one.chmod(0o700)
    folder.parent.chmod(0o1777)  # as /tmp: nobody can take the folder away
    assert folder_of(summed(tmp_path / "new" / "cache")) == folder


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = folder_of(summed(tmp_path))
    os.chown(folder, 12345, -1)
    done = summed(tmp_path)
    assert done.returncode != 0
    assert "is another user's" in done.stderr
