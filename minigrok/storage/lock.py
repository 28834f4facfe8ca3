"""The lock on a folder: one writer at a time, on one machine and on storage that machines share.

    .lock     flock: the system frees it the moment its process dies; seen by the processes of one machine for certain
    .owner    a symbolic link whose target names the owner (`Owner.text`): made in one call, or not at all if it is
              there, on any file system that machines share. Its time is renewed while the owner lives, and it expires
              `EXPIRY` seconds after the last renewal, whatever its target says.

An owner on this machine is dead if its flock is free, at once. So is an owner from before the last start of this
machine: same host name, same machine id, another boot id, last renewed before this start. Any other owner is dead when
its link has expired. Ages are told by the clock of the file system, which dates the link and `.lock` alike. A link that
is dated ahead is given the present date, so that it expires too.

Who takes over moves the dead owner's link aside and looks at what it moved, so that of two who try only one succeeds.

A lock is lost, for good, when the link is missing or names another, or when the folder or its `.lock` is another one
than was opened: moved, deleted, made anew. Its holder looks before each write. A process that is suspended after the
look could still write once; that it cannot follows from an order. A writer makes its temporary file, looks, renames it;
who takes over deletes such files (`unfinished`) before it reads anything. To append, a writer opens the table, looks,
writes; who takes over replaces the table by a copy. So what was begun before is written to nothing.
"""

import errno
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from minigrok.errors import BusyError, RunFolderError
from minigrok.storage.files import unwritable
from minigrok.storage.owner import Owner, start_of

EXPIRY = 120.0  # seconds without a renewal after which an owner on another machine counts as dead: our choice
RENEWAL = 20.0  # seconds between renewals: five may fail in a row; our choice
GLANCE = 0.05  # seconds after which a missing link is looked for again: one who lost a race for it puts it back
FILE = ".lock"
LINK = ".owner"  # the link, and the beginning of the name under which a dead owner's is put aside
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}  # a file system without symbolic links


class _Link(NamedTuple):
    """What a link says: its target, the owner unless that has another format, and the time of the last renewal."""

    text: str
    owner: Owner | None
    renewed: float


class _Hold(NamedTuple):
    """A lock that was taken: descriptors of the folder and of its `.lock`, and whether there is a link."""

    folder: Path
    owner: Owner
    place: int
    file: int
    linked: bool


class Lock:
    """The lock on a folder that exists; see the module.

    Parameters
    ----------
    folder : Path
    unfinished : sequence of str
        Patterns, relative to the folder, of the temporary files of those who write under this lock.
    """

    def __init__(self, folder: Path, unfinished: Sequence[str] = ()) -> None:
        self._folder, self._unfinished = folder, unfinished
        self._hold: _Hold | None = None
        self._let_go: weakref.finalize[..., Lock] | None = None

    def take(self) -> None:
        """Take the lock, or see that it is still ours.

        Raises
        ------
        RunFolderError
            Another holder has it (BusyError), or it is lost; or no permission, no room.
        """
        if self._hold is not None:
            _require_ours(self._hold)
            return
        hold = _take(self._folder)
        stop = threading.Event()
        renewal = threading.Thread(target=_renew, args=(hold, stop), daemon=True, name="lock")
        self._let_go = weakref.finalize(self, _release, hold, stop, renewal)
        self._hold = hold
        renewal.start()
        try:
            self._delete_unfinished()
            _require_ours(hold)  # the folder may have been replaced meanwhile
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back; nothing happens without one."""
        if self._let_go is not None:
            self._let_go()
        self._hold = self._let_go = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Take the lock, or see that it is still ours, to write; where that fails because the lock is lost, say so."""
        self.take()
        try:
            yield
        except RunFolderError:
            self.take()
            raise

    def _delete_unfinished(self) -> None:
        """Delete what earlier writers were about to rename: see the module."""
        for pattern in self._unfinished:
            for left in self._folder.glob(pattern):
                if left.parent == self._folder or not left.parent.is_symlink():
                    with suppress(OSError):
                        left.unlink()

    def __enter__(self) -> "Lock":
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def owner_of(folder: Path) -> tuple[Owner, float] | None:
    """Return who holds a folder and the seconds since the last renewal; None if nobody, a dead owner included.

    For display, so nothing is locked: an owner on this machine is alive if its process is there.
    """
    try:
        found = _read(folder / LINK)
    except RunFolderError:
        return None
    if found is None or found.owner is None:
        return None
    owner, now = found.owner, time.time()
    age = now - found.renewed
    if owner.here and owner.start:
        alive = start_of(owner.pid) == owner.start
    else:
        alive = abs(age) < EXPIRY and not owner.before_start(found.renewed, now)
    return (owner, age) if alive else None


def leftover(name: str) -> bool:
    """Return whether a file of that name is the lock's: to be ignored in a folder that should be empty."""
    return name == FILE or name.startswith(LINK)


def _take(folder: Path) -> _Hold:
    """Take the lock of a folder."""
    owner = Owner.me()
    with ExitStack() as undo:
        place = _open(folder, os.O_RDONLY | os.O_DIRECTORY)
        undo.callback(os.close, place)
        file = _open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        undo.callback(os.close, file)
        flocked = _flock(folder, file)
        if not (_is_same(place, folder) and _is_same(file, folder / FILE)):
            raise _gone(folder)
        linked = _link(folder, owner, file, flocked)
        undo.pop_all()
    return _Hold(folder, owner, place, file, linked)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError as error:
        raise _gone(path) from error
    except OSError as error:
        raise unwritable(path, 0, error) from error


def _flock(folder: Path, file: int) -> bool:
    """Lock the open file; False where the file system has no flock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _busy(folder, _read(folder / LINK)) from error
    except OSError:
        return False
    return True


def _link(folder: Path, owner: Owner, file: int, flocked: bool) -> bool:
    """Put our name into the folder, in place of a dead owner's if need be; False where links cannot be made."""
    path, aside = folder / LINK, _aside(folder, owner)
    try:
        try:
            os.symlink(owner.text, path)
        except FileExistsError:
            _move_aside(path, aside, file, flocked)
            os.symlink(owner.text, path)
        for old in folder.glob(f"{LINK}-{owner.host}-*") if flocked else [aside]:  # one of a kill in the middle, too
            with suppress(FileNotFoundError):
                os.unlink(old)
    except FileExistsError as error:
        raise _busy(folder, _read(path)) from error
    except OSError as error:
        if not (flocked and error.errno in NO_LINKS):
            raise unwritable(path, 0, error) from error
        return False
    return True


def _move_aside(path: Path, aside: Path, file: int, flocked: bool) -> None:
    """Move a dead owner's link out of the way; a BusyError if its owner lives."""
    found = _read(path)
    if found is None:
        return  # given back meanwhile
    owner, now = found.owner, _now(file)
    is_dead = owner is not None and ((flocked and owner.here) or owner.before_start(found.renewed, now))
    if not is_dead and now - found.renewed < EXPIRY:
        if found.renewed > now:
            with suppress(OSError):  # another user's: it expires when the clock has got there
                os.utime(path, (now, now), follow_symlinks=False)
        raise _busy(path.parent, _read(path), now)
    if not _moved(path, aside, found.text):
        raise _busy(path.parent, None)


def _moved(path: Path, aside: Path, text: str) -> bool:
    """Move a link aside; False, and it is put back, if it says something else: another one was faster."""
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return True  # another one was faster; the link that it makes will be found
    found = os.readlink(aside)
    if found != text:
        with suppress(FileExistsError):
            os.symlink(found, path)
    return found == text


def _require_ours(hold: _Hold) -> None:
    """Raise a RunFolderError if the lock is lost; see the module."""
    folder = hold.folder
    if not _is_same(hold.place, folder):
        there = "another folder in its place" if folder.exists() else "nothing there"
        do = "nothing more is written here; if it was moved, go on where it is now: minigrok resume"
        raise RunFolderError(f"{folder} where it was", f"{there}: it was moved or deleted", do)
    text = _text(folder / LINK)
    if text is None and hold.linked:
        time.sleep(GLANCE)
        text = _text(folder / LINK)
    if _is_same(hold.file, folder / FILE) and (text == hold.owner.text or not hold.linked):
        return
    owner = Owner.of(text or "")
    got = f"{owner.host}, process {owner.pid}, took over" if owner else "its lock was taken away"
    got += f": this process was silent for over {EXPIRY:.0f} s, or somebody deleted {FILE} or {LINK}"
    do = "end this process; whoever has the lock goes on from the last checkpoint"
    raise RunFolderError(f"to be still the only writer of {folder}", got, do)


def _is_same(descriptor: int, path: Path) -> bool:
    """Whether an open file or folder is the one of this path."""
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unwritable(path, 0, error) from error
    return os.path.samestat(os.fstat(descriptor), there)


def _renew(hold: _Hold, stop: threading.Event) -> None:
    """Renew the link until told to stop."""
    path = hold.folder / LINK
    while not stop.wait(RENEWAL):
        with suppress(OSError):
            if os.readlink(path) == hold.owner.text:
                os.utime(path, follow_symlinks=False)


def _release(hold: _Hold, stop: threading.Event, renewal: threading.Thread) -> None:
    """Undo `take`; in a forked child, for which the lock was not taken, only forget it."""
    path, aside = hold.folder / LINK, _aside(hold.folder, hold.owner)
    if os.getpid() == hold.owner.pid:
        stop.set()
        if renewal.is_alive():
            renewal.join()
        with suppress(OSError):
            if os.readlink(path) == hold.owner.text and _moved(path, aside, hold.owner.text):
                os.unlink(aside)
    os.close(hold.file)
    os.close(hold.place)


def _aside(folder: Path, owner: Owner) -> Path:
    """Where this owner puts a link aside."""
    return folder / f"{LINK}-{owner.host}-{owner.pid}"


def _text(path: Path) -> str | None:
    """Target of a link; None without one."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def _read(path: Path) -> _Link | None:
    """Return what a link says; None without a link, a RunFolderError if it is none."""
    try:
        status = os.lstat(path)
        text = os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        got, do = f"{path}: {error.strerror}", "if nobody writes this folder, remove it"
        raise RunFolderError(f"a symbolic link {LINK}, as a lock makes it", got, do) from error
    return _Link(text, Owner.of(text), status.st_mtime)


def _busy(folder: Path, found: _Link | None, now: float | None = None) -> BusyError:
    """Error that says who writes a folder, and when the lock expires if that decides."""
    got = "another process, or another Run of this one, is writing it"
    if found:
        owner = found.owner
        got += f" ({owner.host}, process {owner.pid})" if owner else f" ({LINK}, of another format: {found.text!r})"
    if found and now is not None:
        got += f"; if it is dead, its lock expires in {EXPIRY - (now - found.renewed):.0f} s"
    return BusyError(f"to be the only writer of {folder}", got, "wait for it, stop it, or use another folder")


def _gone(path: Path) -> BusyError:
    """Error that says that a path went away while its lock was taken."""
    return BusyError(f"{path}, to lock the folder", "another process moved or deleted it a moment ago", "try again")


def _now(file: int) -> float:
    """Time by the clock of the file system that an open file lies on."""
    os.utime(file)
    return os.fstat(file).st_mtime
