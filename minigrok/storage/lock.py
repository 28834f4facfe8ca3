"""The lock on a folder: one writer at a time, on one machine and on storage that machines share.

    .lock     flock: the system frees it the moment its process dies; seen by the processes of one machine for certain
    .owner    a symbolic link whose target names the owner ("host pid boot token"): made in one call, or not at all if
              it is there, on any file system that machines share. Its time is renewed while the owner lives, and it
              expires `EXPIRY` seconds after the last renewal.

An owner on this machine is dead if its flock is free, at once. An owner elsewhere is dead when its link has expired;
machines' clocks have to agree to a minute. Who takes over moves the dead owner's link aside and looks at what it moved,
so that of two who try only one succeeds. An owner that was silent for too long (a suspended process, a network that was
cut) finds another's name in the link and may not write any more.
"""

import errno
import fcntl
import os
import secrets
import socket
import threading
import time
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from minigrok.errors import BusyError, RunFolderError
from minigrok.storage.files import unwritable

EXPIRY = 120.0  # seconds without a renewal after which an owner on another machine counts as dead: our choice
RENEWAL = 20.0  # seconds between renewals: five may fail in a row; our choice
LINK = ".owner"  # the link, and the beginning of the name under which a dead owner's is put aside
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}  # a file system without symbolic links


class Owner(NamedTuple):
    """Who holds a lock.

    Attributes
    ----------
    host, pid : the process
    boot : str      of the machine's kernel; two machines of one name differ
    token : str     of this very hold
    """

    host: str
    pid: int
    boot: str
    token: str

    @property
    def text(self) -> str:
        """Target of the link."""
        return " ".join(map(str, self))

    @property
    def here(self) -> bool:
        """Whether it is a process of this machine."""
        return (self.host, self.boot) == _machine()


class Lock:
    """The lock on a folder that exists; see the module.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner: Owner | None = None
        self._let_go: weakref.finalize[..., Lock] | None = None

    def take(self) -> None:
        """Take the lock, or see that it is still ours.

        Raises
        ------
        RunFolderError
            Another holder has it (BusyError), or took it over while this process was silent; or no permission, no room.
        """
        if self._owner is not None:
            _require_ours(self._folder, self._owner)
            return
        owner = Owner(_machine()[0], os.getpid(), _machine()[1], secrets.token_hex(8))
        descriptor, flocked = _flock(self._folder)
        try:
            _link(self._folder, owner, flocked)
        except BaseException:
            os.close(descriptor)
            raise
        stop = threading.Event()
        renewal = threading.Thread(target=_renew, args=(self._folder, owner, stop), daemon=True, name="lock")
        self._owner = owner
        self._let_go = weakref.finalize(self, _release, self._folder, owner, descriptor, stop, renewal)
        renewal.start()

    def release(self) -> None:
        """Give the lock back; nothing happens without one."""
        if self._let_go is not None:
            self._let_go()
        self._owner = self._let_go = None


def owner_of(folder: Path) -> tuple[Owner, float] | None:
    """Return who holds a folder and the seconds since the last renewal; None if nobody, a dead owner included.

    For display: on this machine a process of that number is taken for the owner.
    """
    found = _read(folder / LINK)
    if found is None:
        return None
    owner, age = found
    return found if (_exists(owner.pid) if owner.here else age < EXPIRY) else None


def leftover(name: str) -> bool:
    """Return whether a file of that name is the lock's: to be ignored in a folder that should be empty."""
    return name == ".lock" or name.startswith(LINK)


def _flock(folder: Path) -> tuple[int, bool]:
    """Open the lock file and flock it; the second is False where the file system has no flock."""
    path = folder / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise unwritable(path, 0, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        found = _read(folder / LINK)
        raise _busy(folder, found[0] if found else None) from error
    except OSError:
        return descriptor, False
    return descriptor, True


def _link(folder: Path, owner: Owner, flocked: bool) -> None:
    """Put our name into the folder, in place of a dead owner's if need be."""
    path, aside = folder / LINK, folder / f"{LINK}-{owner.host}-{owner.pid}"
    try:
        try:
            os.symlink(owner.text, path)
        except FileExistsError:
            _move_aside(path, aside, flocked)
            os.symlink(owner.text, path)
        for old in folder.glob(f"{LINK}-{owner.host}-*") if flocked else [aside]:  # one of a kill in the middle, too
            with suppress(FileNotFoundError):
                os.unlink(old)
    except FileExistsError as error:
        found = _read(path)
        raise _busy(folder, found[0] if found else None) from error
    except OSError as error:
        if not (flocked and error.errno in NO_LINKS):
            raise unwritable(path, 0, error) from error


def _move_aside(path: Path, aside: Path, flocked: bool) -> None:
    """Move a dead owner's link out of the way; a RunFolderError if its owner lives."""
    found = _read(path)
    if found is None:
        return  # given back meanwhile
    owner, age = found
    if not (flocked and owner.here) and age < EXPIRY:
        raise _busy(path.parent, owner, EXPIRY - age)
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return  # another one was faster; the link that it makes will be found
    moved = os.readlink(aside)
    if moved != owner.text:  # another one was faster, and this is its name: put it back
        with suppress(FileExistsError):
            os.symlink(moved, path)
        raise _busy(path.parent, None)


def _require_ours(folder: Path, owner: Owner) -> None:
    """Raise a RunFolderError if the link names another owner; a link that is missing is made again."""
    found = _read(folder / LINK)
    if found is None:
        with suppress(OSError):
            os.symlink(owner.text, folder / LINK)
        found = _read(folder / LINK)
    if found is not None and found[0] != owner:
        required = f"to be still the only writer of {folder}"
        got = f"{found[0].host}, process {found[0].pid}, took over: this process was silent for over {EXPIRY:.0f} s"
        raise RunFolderError(required, got, "end this process; the other one goes on from the last checkpoint")


def _renew(folder: Path, owner: Owner, stop: threading.Event) -> None:
    """Renew the link until told to stop."""
    while not stop.wait(RENEWAL):
        with suppress(OSError):
            if os.readlink(folder / LINK) == owner.text:
                os.utime(folder / LINK, follow_symlinks=False)


def _release(folder: Path, owner: Owner, descriptor: int, stop: threading.Event, renewal: threading.Thread) -> None:
    """Undo `take`; in a forked child, for which the lock was not taken, only forget it."""
    if os.getpid() == owner.pid:
        stop.set()
        if renewal.is_alive():
            renewal.join()
        with suppress(OSError):
            if os.readlink(folder / LINK) == owner.text:
                os.unlink(folder / LINK)
    os.close(descriptor)


def _read(path: Path) -> tuple[Owner, float] | None:
    """Owner that a link names, and the seconds since its renewal; None without a link."""
    try:
        text, renewed = os.readlink(path), os.lstat(path).st_mtime
    except OSError:
        return None
    fields = text.split(" ")
    if len(fields) != 4 or not fields[1].isdigit():
        fields = ["unknown", "0", "unknown", text]  # not ours: it expires like the rest
    return Owner(fields[0], int(fields[1]), fields[2], fields[3]), time.time() - renewed


def _busy(folder: Path, owner: Owner | None, seconds: float = 0.0) -> BusyError:
    """Error that says who writes a folder."""
    got = "another process, or another Run of this one, is writing it"
    if owner:
        got += f" ({owner.host}, process {owner.pid})"
    if seconds:
        got += f"; if it is dead, its lock expires in {seconds:.0f} s"
    return BusyError(f"to be the only writer of {folder}", got, "wait for it, stop it, or use another folder")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@cache
def _machine() -> tuple[str, str]:
    """Name of this machine, and a mark of its kernel's start."""
    boot = "unknown"
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return socket.gethostname().replace(" ", "_").replace("/", "_") or "unknown", boot
