"""The cache of compiled functions on disk: its key, its owner, and what happens when a file of it is damaged.

    ROOT/SOURCES-AND-VERSIONS/FUNCTION-ARGUMENTS-PROCESSOR-SETTINGS.bin    with digests in the places of what is long

What decides the code of a function decides the name of its file, so that nothing else is ever run: the sources of all
bodies (`COMPILED`), because a body calls others; the versions of what compiles them; the types of the arguments; the
processor; Numba's settings.

A file is a checksum and a pickle, because Numba has no other form. Whoever can write to the folder could have code of
theirs run, so a folder that others own or can write to is refused. A damaged file is made anew. Where no file can be
written, functions are compiled each time. Both are said once.
"""

import hashlib
import os
import pickle
import platform
import re
import tempfile
import uuid
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path
from stat import S_ISVTX, S_IWGRP, S_IWOTH
from typing import Any

import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from minigrok.errors import EngineError, MinigrokWarning

COMPILED = ("engine/*.py", "layers/*.py", "network/evaluation.py", "training/optim.py", "training/planes.py")
DIGEST = 32  # bytes of a sha256

# Numba's settings that decide no machine code: what it prints, threads, its own cache, the other target. All others are
# part of the key, also those of a later Numba that nobody here has heard of.
SILENT = re.compile("CACHE|CUDA|THREAD|DUMP|TRACE|COLOR|HIGHLIGHT|WARN|SHOW_HELP|DEVELOPER|DIFF_IR|HTML|ANNOTATE")


def code_settings() -> dict[str, str]:
    """Return Numba's settings that may decide machine code, as Numba holds them now."""
    numba.config.reload_config()  # as it does itself before it compiles
    found = {name: value for name, value in vars(numba.config).items() if name.isupper() and not SILENT.search(name)}
    return {name: str(found[name]) for name in sorted(found)}


@cache
def _sources() -> list[Path]:
    return sorted(path for pattern in COMPILED for path in Path(__file__).parent.parent.glob(pattern))


@cache
def cache_folder() -> Path:
    """Folder of the compiled functions of these sources and versions.

    `NUMBA_CACHE_DIR` moves the folder; default: minigrok/numba in the user's cache folder (XDG_CACHE_HOME).
    """
    versions = [platform.python_version(), *(version(name) for name in ("numba", "llvmlite", "numpy"))]
    digest = hashlib.sha256(" ".join(versions).encode())
    for source in _sources():
        digest.update(source.read_bytes())
    root = Path(os.environ.get("NUMBA_CACHE_DIR") or _user_folder() / "minigrok" / "numba")
    return Path(os.path.realpath(root / digest.hexdigest()[:16]))


@cache
def usable_folder() -> Path | None:
    """Make `cache_folder`, for this user alone; None, and a warning, where there is no place for it.

    Raises
    ------
    EngineError
        The folder is another user's, or others can write to it or replace it.
    """
    folder = cache_folder()
    try:
        _make(folder)
        modes = {each: each.stat() for each in (folder, *folder.parents)}
    except OSError as error:
        _say(f"compiled functions are not kept: {folder}: {error.strerror or error}")
        return None
    if modes[folder].st_uid != os.getuid():
        raise _refused(folder, "is another user's")
    for each, found in modes.items():
        others = S_IWOTH | (S_IWGRP if each == folder else 0)  # above it a group is often the user's own
        if found.st_mode & others and not (each != folder and found.st_mode & S_ISVTX):
            raise _refused(each, "can be written by others")
    return folder


def is_kept(body: Any) -> bool:
    """Whether a function may be kept: it is in `COMPILED`, so that the folder's name changes with it."""
    return Path(body.__code__.co_filename) in _sources()


class Cache(NullCache):  # type: ignore[misc]
    """The files of one function, in the place of Numba's own cache.

    Parameters
    ----------
    body : function
    folder : Path      from `usable_folder`
    """

    def __init__(self, body: Any, folder: Path) -> None:
        self._name, self._module, self._folder = body.__qualname__, body.__module__, folder

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the function compiled for the types of the arguments, or None if there is none that is whole."""
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        path = self._path(key)
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(_read(path, key)))
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever pickle, Numba and LLVM raise on what is no function
            _say(f"a damaged file of compiled functions is made anew: {path}: {error or type(error).__name__}")
            return None

    def save_overload(self, sig: Any, compiled: Any) -> None:
        """Keep the compiled function, if there is room."""
        if compiled.lifted or compiled.library.has_dynamic_globals:
            return  # it knows addresses of this process
        key = self._key(sig, compiled.codegen)
        try:
            _write(self._path(key), key, dumps(compiled._reduce()))
        except OSError as error:
            _say(f"compiled functions are not kept: {self._folder}: {error.strerror or error}")

    def _key(self, sig: Any, codegen: Any) -> bytes:
        return repr((self._module, self._name, str(sig), codegen.magic_tuple(), code_settings())).encode()

    def _path(self, key: bytes) -> Path:
        return self._folder / f"{self._module.rpartition('.')[2]}.{self._name}-{hashlib.sha256(key).hexdigest()}.bin"


def _read(path: Path, key: bytes) -> bytes:
    """Return what `_write` wrote; a ValueError if it is not that, or another user's."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if os.fstat(file.fileno()).st_uid != os.getuid():
            raise ValueError("another user's file")
        kept = file.read()
    if hashlib.sha256(key + kept[DIGEST:]).digest() != kept[:DIGEST]:
        raise ValueError("its checksum is another one")
    return kept[DIGEST:]


def _write(path: Path, key: bytes, data: bytes) -> None:
    """Replace a file; processes may do so side by side."""
    temporary = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(hashlib.sha256(key + data).digest() + data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _user_folder() -> Path:
    """Where the user's caches are; a user without a home, as in a container, has a folder among the temporary files."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"minigrok-{os.getuid()}")


def _make(folder: Path) -> None:
    """Make a folder, and those above it, for this user alone; what is there stays as it is."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)


@cache  # once each
def _say(words: str) -> None:
    warnings.warn(words, MinigrokWarning, stacklevel=3)


def _refused(folder: Path, why: str) -> EngineError:
    required = "a folder of compiled functions that nobody else can write to, since they are run"
    do = f"chmod go-w {folder}, if it and what is in it are yours; or choose another with NUMBA_CACHE_DIR"
    return EngineError(required, f"{folder} {why}", do)
