"""The cache of compiled functions on disk: its key, its owner, and what happens when a file of it is damaged.

Numba's own key is the file of a function and the processor. So the folder's name adds the sources of all bodies
(`COMPILED`), because a body calls others, and Numba's settings (`code_settings`), because some of them decide the code.

Numba's files are pickles, so a folder that others can write to could run their code: such a folder is refused. Each
file has a checksum. A damaged file is made anew. Where no file can be written, the functions are compiled each time.
Both are said once.
"""

import hashlib
import os
import pickle
import re
import warnings
from functools import cache
from pathlib import Path
from stat import S_ISVTX, S_IWGRP, S_IWOTH
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from minigrok.errors import EngineError

COMPILED = ("engine/*.py", "layers/*.py", "network/evaluation.py", "training/optim.py", "training/planes.py")
DIGEST = 32  # bytes of a sha256

# Numba's settings that decide no machine code: what it prints, threads, the cache itself, the other target. All others
# are part of the key, also those of a later Numba that nobody here has heard of.
SILENT = re.compile("CACHE|CUDA|THREAD|DUMP|TRACE|COLOR|HIGHLIGHT|WARN|SHOW_HELP|DEVELOPER|DIFF_IR|HTML|ANNOTATE|SVML$")


def code_settings() -> dict[str, str]:
    """Return Numba's settings that may decide machine code, from its environment variables and its own file."""
    found = {name: value for name, value in vars(numba.config).items() if name.isupper() and not SILENT.search(name)}
    found["DISABLE_INTEL_SVML"] = numba.config.DISABLE_INTEL_SVML
    return {name: str(found[name]) for name in sorted(found)}


@cache
def cache_folder() -> Path:
    """Folder of the compiled functions of these sources and settings.

    `NUMBA_CACHE_DIR` moves the folder; default: minigrok/numba in the user's cache folder (XDG_CACHE_HOME).
    """
    package = Path(__file__).parent.parent
    digest = hashlib.sha256(repr(code_settings()).encode())
    for source in sorted(path for pattern in COMPILED for path in package.glob(pattern)):
        digest.update(source.read_bytes())
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(os.environ.get("NUMBA_CACHE_DIR") or user / "minigrok" / "numba")
    return root / digest.hexdigest()[:16]


@cache
def usable_folder() -> Path | None:
    """Make `cache_folder`, for this user alone; None, and a warning, where there is no place for it.

    Raises
    ------
    EngineError
        The folder, or the one around it, is another user's or can be written by others.
    """
    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _say(f"compiled functions are not kept: {folder}: {error.strerror or error}")
        return None
    around = folder.parent.stat()
    if around.st_mode & (S_IWGRP | S_IWOTH) and not around.st_mode & S_ISVTX:
        raise _refused(folder.parent, "can be written by others")
    if folder.stat().st_uid != os.getuid():
        raise _refused(folder, "is another user's")
    if folder.stat().st_mode & (S_IWGRP | S_IWOTH):
        raise _refused(folder, "can be written by others")
    return folder


class Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, with checksums, that survives damage and a full disk."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _Checked(self.cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or None if there is none that is whole."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # whatever Numba and pickle raise on damaged files
            why = error or type(error).__name__
            _say(f"a damaged file of compiled functions is made anew in {self.cache_path}: {why}")
            self._cache_file.forget()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled function, if there is room."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say(f"compiled functions are not kept: {self.cache_path}: {error.strerror or error}")
            self.disable()


class _Checked(IndexDataCacheFile):  # type: ignore[misc]
    """Index and data files of a function, each a checksum and what it is of."""

    def forget(self) -> None:
        """Delete the index, so that all is compiled and saved again."""
        Path(self._index_path).unlink(missing_ok=True)

    def _save_index(self, overloads: Any) -> None:
        self._save_data(self._index_name, (self._version, self._source_stamp, overloads))

    def _load_index(self) -> Any:
        if not Path(self._index_path).exists():
            return {}
        version, stamp, overloads = self._load_data(self._index_name)
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _dump(self, obj: Any) -> bytes:
        data: bytes = super()._dump(obj)
        return hashlib.sha256(data).digest() + data

    def _load_data(self, name: str) -> Any:
        kept = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(kept[DIGEST:]).digest() != kept[:DIGEST]:
            raise ValueError(f"{name} has another checksum")
        return pickle.loads(kept[DIGEST:])


@cache  # once each
def _say(words: str) -> None:
    warnings.warn(words, RuntimeWarning, stacklevel=3)


def _refused(folder: Path, why: str) -> EngineError:
    required = "a folder of compiled functions that nobody else can write to, since they are run"
    do = f"chmod -R go-w {folder}, if what is in it is yours; or choose another with NUMBA_CACHE_DIR"
    return EngineError(required, f"{folder} {why}", do)
