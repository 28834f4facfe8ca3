"""A writer is suspended at calls that changes the disk or the lock, loses its folder meanwhile, and goes on.

What another run, or the same one under another owner, made of the folder must keep every bit and must be resumable;
the suspended writer must end with an error, unless all of its run was written. Each campaign prints its counts: cases;
failed, where a bit differs or a resume is refused; silent, where a writer that lost its lock ended as if it had not.
"""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from campaigns import Campaign
from kills import SHORT, all_bits, sit

from minigrok.config import with_settings
from minigrok.errors import RunFolderError
from minigrok.storage.lock import EXPIRY, LINK, leftover, owner_of
from minigrok.training import loop
from minigrok.training.observer import Observer

TOP = Path(__file__).parents[2]
OTHER = with_settings(SHORT, ["seed=7"])
STOPS = ("open", "mkdir", "write", "fsync", "replace", "symlink", "rename", "unlink")
REFUSED = 3  # exit code of a writer that ended with a RunFolderError

Bits = dict[str, Any]


def attack(tmp_path: Path, how: str, stride: int, campaign: Campaign) -> None:
    """Run the cases in a process of its own, which may fork because it has no threads."""
    paths = [str(TOP), str(TOP / "tests"), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, __file__, how, str(stride), str(tmp_path)]
    result = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    counts = result.stdout.splitlines()[-1].partition(":")[2]
    number = {name: int(number) for number, name in (each.split() for each in counts.split(","))}
    campaign.cases += number["cases"]
    campaign.failed += [result.stderr] * number["failed"]
    campaign.silent += [result.stderr] * number["silent"]


HOW = ("deleted", "replaced", "moved", "taken", "overlapping")


@pytest.mark.parametrize("how", HOW)
def test_a_writer_that_was_suspended_at_some_calls(tmp_path: Path, how: str, campaign: Campaign) -> None:
    attack(tmp_path, how, 24, campaign)


@pytest.mark.torture
@pytest.mark.parametrize("how", HOW)
def test_a_writer_that_was_suspended_at_every_call(tmp_path: Path, how: str, campaign: Campaign) -> None:
    attack(tmp_path, how, 1, campaign)


# --- in a process of its own


def fork(work: Callable[[], None]) -> int:
    """Fork a process that does the work; return its id."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except RunFolderError as error:
        print(f"  refused: {error.got}", file=sys.stderr)
        os._exit(REFUSED)
    except BaseException as error:
        print(f"  {error!r}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def ended(process: int) -> int | None:
    """Wait until a process ends or stops; its exit code, None if it stopped."""
    _, status = os.waitpid(process, os.WUNTRACED)
    return None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)


def goes_on(process: int) -> int | None:
    """Let a process that stopped go on, until it ends or stops."""
    os.kill(process, signal.SIGCONT)
    return ended(process)


def stop_at(number: int) -> None:
    """Make this process stop itself at its n-th call that changes the disk or the lock; a write is half done then."""
    calls = count()

    def stopping(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if next(calls) != number:
                return real(*args, **more)
            if name != "write":
                os.kill(os.getpid(), signal.SIGSTOP)
                return real(*args, **more)
            done = real(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGSTOP)
            return done

        return call

    for name in STOPS:
        setattr(os, name, stopping(getattr(os, name), name))


def no_flock(*_: Any) -> None:
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def bits(folder: Path) -> Bits:
    """Everything in a run folder but the wall time and the lock; nothing if it is no run yet."""
    if not (folder / "checkpoint.safetensors").exists():
        return {}
    return {name: value for name, value in all_bits(folder).items() if not leftover(name)}


def trained(folder: Path, *meanwhile: int) -> list[int | None]:
    """Train the short run there in another process; with `meanwhile`, that one goes on when half the steps are made."""

    def halfway(step: int) -> None:
        if step == SHORT.train.max_steps // 2 and meanwhile:
            os.kill(os.getpid(), signal.SIGSTOP)

    process = fork(lambda: sit(folder, SHORT, 1, Observer(stepped=halfway)))
    codes = [ended(process)]
    for other in meanwhile:
        codes = [goes_on(other), goes_on(process) if codes == [None] else codes[0]]
    return codes


def lost(how: str, folder: Path, writer: int, expected: Bits) -> tuple[int | None, bool, list[tuple[Path, Bits]]]:
    """Take the folder from a stopped writer and let it go on.

    Returns its exit code, whether all else went as it should, and what each folder has to hold.
    """
    if how in ("taken", "overlapping"):
        if (folder / LINK).is_symlink():
            then = time.time() - EXPIRY - 1
            os.utime(folder / LINK, (then, then), follow_symlinks=False)
        code, other = trained(folder, writer) if how == "overlapping" else [*trained(folder), goes_on(writer)][::-1]
        return code, other == 0, [(folder, expected)]
    aside = folder.with_name("aside")
    if folder.exists():
        folder.rename(aside) if how == "moved" else shutil.rmtree(folder)
    if how == "replaced":
        sit(folder, OTHER, 1)
    code = goes_on(writer)
    if how == "replaced":
        return code, True, [(folder, bits(folder.with_name("other")))]
    return code, code == 0 or not folder.exists(), [(aside, expected)] if (aside / "config.toml").exists() else []


def case(how: str, folder: Path, number: int, expected: Bits) -> tuple[bool, bool] | None:
    """One case: whether it failed, and whether it was silent; None if there is no such call."""

    def work() -> None:
        stop_at(number)
        sit(folder, SHORT, 1)

    writer = fork(work)
    if ended(writer) is not None:
        return None
    was_owner = (owner := owner_of(folder)) is not None and owner[0].pid == writer
    was_done = bits(folder) == expected
    code, well, places = lost(how, folder, writer, expected)
    failed = not well or code not in (0, REFUSED)
    for place, wanted in places:
        failed |= how != "moved" and bits(place) != wanted
        try:
            sit(place, OTHER if how == "replaced" else SHORT, 1)
        except RunFolderError as error:
            print(f"{how} at call {number}: not resumed: {error}", file=sys.stderr)
            failed = True
        failed |= bits(place) != wanted
    silent = code == 0 and was_owner and not was_done
    if failed or silent:
        print(f"{how} at call {number}: exit {code}, failed {failed}, silent {silent}", file=sys.stderr)
    return failed, silent


def main(how: str, stride: int, top: Path) -> None:
    """Run a campaign and print its counts."""
    loop.CHECKPOINT_SECONDS = 0.0
    sit(top / "alone", SHORT, 1)
    sit(top / "other", OTHER, 1)
    expected = bits(top / "alone")
    if how in ("taken", "overlapping"):
        fcntl.flock = no_flock  # type: ignore[assignment]
    found = []
    for number in count(0, stride):
        one = case(how, top / "run", number, expected)
        if one is None:
            break
        found.append(one)
        for name in ("run", "aside"):
            with suppress(FileNotFoundError):
                shutil.rmtree(top / name)
    failed, silent = (sum(column) for column in zip(*found, strict=True))
    print(
        f"{how}, flock {'refused' if fcntl.flock is no_flock else 'works'}: "
        f"{len(found)} cases, {failed} failed, {silent} silent"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
