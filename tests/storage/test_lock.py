"""The lock on a folder: one writer on one machine and on shared storage, whatever dies when."""

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from minigrok.errors import BusyError, RunFolderError
from minigrok.storage import lock, owner
from minigrok.storage.lock import EXPIRY, LINK, Lock, leftover, owner_of
from minigrok.storage.owner import Owner

ELSEWHERE = Owner("elsewhere", "its-id", "another-boot", 4711, "99", "token")
OLD = "elsewhere 4711 another-boot token"  # of another format
CALLS = ("symlink", "rename", "unlink", "readlink")  # of which the lock is made


def leave(folder: Path, owner: Owner | str, age: float) -> None:
    """Make the link that an owner, or somebody else, left so many seconds ago."""
    os.symlink(owner if isinstance(owner, str) else owner.text, folder / LINK)
    then = time.time() - age
    os.utime(folder / LINK, (then, then), follow_symlinks=False)


def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", flock)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_lock_names_its_owner_and_leaves_nothing_but_an_empty_file(tmp_path: Path) -> None:
    mine, other = Lock(tmp_path), Lock(tmp_path)
    assert owner_of(tmp_path) is None
    mine.take()
    mine.take()
    found, age = owner_of(tmp_path) or pytest.fail("no owner")
    assert (found.pid, found.here) == (os.getpid(), True)
    assert age < 10
    with pytest.raises(RunFolderError, match=f"only writer of {tmp_path} .*process {os.getpid()}"):
        other.take()
    mine.release()
    mine.release()
    assert names(tmp_path) == [".lock"]
    assert all(leftover(name) for name in names(tmp_path))
    assert not leftover("config.toml")
    other.take()
    other.release()


def test_a_lock_that_is_forgotten_is_given_back(tmp_path: Path) -> None:
    Lock(tmp_path).take()
    assert names(tmp_path) == [".lock"]


def test_an_owner_elsewhere_is_waited_for_until_its_lock_expires(tmp_path: Path) -> None:
    leave(tmp_path, ELSEWHERE, age=EXPIRY - 30)
    with pytest.raises(
        RunFolderError, match=r"elsewhere, process 4711\); if it is dead, its lock expires in (29|30) s"
    ):
        Lock(tmp_path).take()
    assert owner_of(tmp_path) is not None
    os.unlink(tmp_path / LINK)
    leave(tmp_path, ELSEWHERE, age=EXPIRY + 1)
    assert owner_of(tmp_path) is None
    mine = Lock(tmp_path)
    mine.take()
    assert os.readlink(tmp_path / LINK).split()[3] == str(os.getpid())
    mine.release()
    assert names(tmp_path) == [".lock"]


def test_of_two_who_take_over_one_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look at a dead owner's link and our move of it, a third machine has taken over."""
    leave(tmp_path, ELSEWHERE, age=EXPIRY + 1)
    third, rename = ELSEWHERE._replace(host="third"), os.rename

    def late(source: Path, target: Path) -> None:
        os.unlink(source)
        os.symlink(third.text, source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(RunFolderError, match="only writer"):
        Lock(tmp_path).take()
    assert os.readlink(tmp_path / LINK) == third.text


def test_who_was_taken_over_may_not_write_and_leaves_the_new_owner_alone(tmp_path: Path) -> None:
    mine = Lock(tmp_path)
    mine.take()
    os.unlink(tmp_path / LINK)
    os.symlink(ELSEWHERE.text, tmp_path / LINK)
    with pytest.raises(RunFolderError, match="elsewhere, process 4711, took over"):
        mine.take()
    mine.release()
    assert os.readlink(tmp_path / LINK) == ELSEWHERE.text


def test_a_lock_that_was_taken_over_and_given_back_is_lost_for_good(tmp_path: Path) -> None:
    mine = Lock(tmp_path)
    mine.take()
    os.unlink(tmp_path / LINK)
    for _ in range(2):
        with pytest.raises(RunFolderError, match=r"still the only writer .*its lock was taken away"):
            mine.take()
    assert names(tmp_path) == [".lock"]


def test_another_lock_file_is_another_lock(tmp_path: Path) -> None:
    mine = Lock(tmp_path)
    mine.take()
    os.unlink(tmp_path / ".lock")
    (tmp_path / ".lock").touch()
    with pytest.raises(RunFolderError, match="still the only writer"):
        mine.take()


@pytest.mark.parametrize("again", ["nothing there", "another folder in its place"])
@pytest.mark.parametrize("moved", [True, False])
def test_a_folder_that_was_moved_or_deleted_is_not_ours_nor_is_another_of_its_name(
    tmp_path: Path, again: str, moved: bool
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    mine, other = Lock(folder), Lock(folder)
    mine.take()
    folder.rename(tmp_path / "b") if moved else shutil.rmtree(folder)
    if again != "nothing there":
        folder.mkdir()
        other.take()
    with pytest.raises(RunFolderError, match=f"{again}: it was moved or deleted"):
        mine.take()
    mine.release()
    assert not folder.exists() or names(folder) == [".lock", LINK]
    other.release()


def test_who_takes_the_lock_deletes_what_others_were_about_to_rename(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    for name in ("a.tmp", "b.tmp", "elsewhere/a.tmp"):
        (tmp_path / name).touch()
    with Lock(tmp_path, ["a*.tmp", "linked/*.tmp"]):
        assert names(tmp_path) == [".lock", LINK, "b.tmp", "elsewhere", "linked"]
        assert names(tmp_path / "elsewhere") == ["a.tmp"]


# --- links that are not as they should be


def test_a_link_of_another_format_is_named_and_expires(tmp_path: Path) -> None:
    leave(tmp_path, OLD, age=EXPIRY - 30)
    with pytest.raises(BusyError, match=rf"another format: '{OLD}'.*expires in (29|30) s"):
        Lock(tmp_path).take()
    assert owner_of(tmp_path) is None
    os.unlink(tmp_path / LINK)
    leave(tmp_path, OLD, age=EXPIRY + 1)
    with Lock(tmp_path):
        assert owner_of(tmp_path) is not None
    assert names(tmp_path) == [".lock"]


@pytest.mark.parametrize("said", [ELSEWHERE, OLD])
def test_a_link_that_is_dated_ahead_expires_like_the_others(tmp_path: Path, said: Owner | str) -> None:
    leave(tmp_path, said, age=-5000)
    assert owner_of(tmp_path) is None
    with pytest.raises(BusyError, match=r"expires in (119|120) s"):
        Lock(tmp_path).take()
    assert abs(os.lstat(tmp_path / LINK).st_mtime - time.time()) < 10


def test_a_link_of_another_user_that_is_dated_ahead_says_when_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, ELSEWHERE, age=-5000)
    utime = os.utime

    def denied(path: Path | int, *rest: Any, **more: Any) -> None:
        if rest:
            raise PermissionError(errno.EPERM, "not the owner")
        utime(path, **more)

    monkeypatch.setattr(os, "utime", denied)
    with pytest.raises(BusyError, match=r"expires in 51(19|20) s"):
        Lock(tmp_path).take()


def test_ages_are_told_by_the_clock_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is an hour ahead takes no living owner's lock."""
    leave(tmp_path, ELSEWHERE, age=1)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    with pytest.raises(BusyError):
        Lock(tmp_path).take()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_what_is_no_link_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / LINK)
    assert owner_of(tmp_path) is None
    with pytest.raises(RunFolderError, match=r"a symbolic link \.owner.*Invalid argument.*remove it"):
        Lock(tmp_path).take()


def test_a_lock_file_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError, match="symbolic links"):
        Lock(folder).take()
    assert names(tmp_path) == ["a"]


def test_an_owner_from_before_this_machines_last_start_is_dead_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so a machine of this one's name, or one that shares name and id but renewed its link since."""
    no_flock(monkeypatch)
    host, number, _ = owner.machine()
    before = Owner(host, "4f" if number == owner.UNKNOWN else number, "another-boot", 4711, "99", "token")
    monkeypatch.setattr(owner, "machine", lambda: (host, before.machine, "this-boot"))
    monkeypatch.setattr(time, "clock_gettime", lambda _: 30.0)  # seconds since the start
    for age, other in ((20, before), (40, before._replace(machine="of-a-namesake"))):
        leave(tmp_path, other, age)
        assert owner_of(tmp_path) is not None
        with pytest.raises(BusyError, match="expires in"):
            Lock(tmp_path).take()
        os.unlink(tmp_path / LINK)
    leave(tmp_path, before, 40)
    assert owner_of(tmp_path) is None
    Lock(tmp_path).take()


def test_a_later_process_of_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    mine = Owner.me()
    leave(tmp_path, mine._replace(start="1"), age=1)
    assert owner_of(tmp_path) is None
    os.unlink(tmp_path / LINK)
    leave(tmp_path, mine, age=1)
    assert owner_of(tmp_path) is not None


def test_a_process_that_has_died_is_nobody() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert owner.start_of(process.pid) != ""
        process.kill()
        until_dead = time.monotonic() + 10
        while owner.start_of(process.pid) != "" and time.monotonic() < until_dead:
            time.sleep(0.01)  # dead, and not yet waited for
        assert owner.start_of(process.pid) == ""
    assert owner.start_of(2**40) == ""


def test_an_owner_that_lives_renews_its_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEWAL", 0.01)
    mine = Lock(tmp_path)
    mine.take()
    os.utime(tmp_path / LINK, (0, 0), follow_symlinks=False)
    deadline = time.monotonic() + 10
    while os.lstat(tmp_path / LINK).st_mtime == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    mine.release()


def test_without_flock_the_link_excludes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_flock(monkeypatch)
    mine = Lock(tmp_path)
    mine.take()
    with pytest.raises(RunFolderError, match="only writer"):
        Lock(tmp_path).take()
    mine.release()
    mine.take()


def test_without_links_flock_excludes_and_without_both_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def symlink(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "symlink", symlink)
    mine = Lock(tmp_path)
    mine.take()
    mine.take()
    with pytest.raises(RunFolderError, match="only writer"):
        Lock(tmp_path).take()
    mine.release()
    no_flock(monkeypatch)
    with pytest.raises(RunFolderError, match="room and permission"):
        mine.take()


def test_a_forked_child_does_not_release_its_parents_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Lock(tmp_path)
    mine.take()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1)
        mine.release()
    assert (tmp_path / LINK).is_symlink()


# --- a kill at each call, in processes of their own


def kill_at(number: int) -> None:
    """Make this process kill itself before its n-th call of those that the lock is made of."""
    calls = count()

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return call

    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))


def kills(folder: Path) -> int:
    """Kill holders at each call, with three things in their way; each time the next one gets the lock at once."""
    total = 0
    dead = Owner(*owner.machine(), 1, "1", "dead")
    for before in (None, dead, ELSEWHERE):
        for number in count():
            if before:
                leave(folder, before, age=EXPIRY + 1)
            child = os.fork()
            if child == 0:
                kill_at(number)
                mine = Lock(folder)
                mine.take()
                mine.take()
                mine.release()
                os._exit(0)
            _, status = os.waitpid(child, 0)
            following = Lock(folder)
            following.take()
            following.release()
            assert names(folder) == [".lock"], (before, number)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            total += 1
    return total


def test_a_kill_at_any_call_leaves_a_lock_that_the_next_one_gets_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.storage.test_lock", str(tmp_path)]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 12


# --- a race


def contend(folder: Path, start: Any, results: Any) -> None:
    """Try to take over one dead owner's lock after another, without the help of flock."""

    def flock(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, "none")

    fcntl.flock = flock  # type: ignore[assignment]
    for round_folder in sorted(folder.iterdir()):
        start.wait()
        mine, won = Lock(round_folder), True
        try:
            mine.take()
        except RunFolderError:
            won = False
        start.wait()
        if won:
            mine.take()
        results.put((round_folder.name, won))
        start.wait()
        mine.release()


def test_in_a_race_for_an_expired_lock_one_process_wins(tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / f"{number:02d}"
        folder.mkdir()
        leave(folder, ELSEWHERE, age=EXPIRY + 1)
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=contend, args=(tmp_path, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=60) for _ in range(30 * 4)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    winners = [name for name, won in outcomes if won]
    assert sorted(winners) == sorted(path.name for path in tmp_path.iterdir())


if __name__ == "__main__":
    print(kills(Path(sys.argv[1])))
