"""Results of analyses on disk: written whole, and read back by the names of their fields.

    RUN/analysis/NAME/arrays.npz     the arrays (no pickle)
                     /table.csv      the rows of the table
                     /figure.png     and figure.svg
                     /result.json    settings, runs, versions and every scalar; arrays are named there, and checksums
`result.json` is taken away first and written last: where it is, the result is complete.
The paper's protocol has a folder of its own, NAME-paper. A comparison of several runs is saved in the first one's
folder.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minigrok.analyses.base import Analysis, Row, npz, to_files
from minigrok.config import config_hash
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.foreign import ARRAYS, read_file
from minigrok.plotting import save
from minigrok.storage.files import SEAL, Check, is_sealed, make_folder, remove, seal, unpacked, write_atomically
from minigrok.storage.lock import Lock, leftover
from minigrok.storage.runs import Run
from minigrok.version import __version__

DIGESTED = ("arrays.npz", "table.csv")  # files whose SHA-256 is in result.json


@dataclass(frozen=True)
class Stored:
    """A result that was read back.

    Attributes
    ----------
    folder : Path
    settings : dict    those that it was made with
    fields : dict      of the Result: nested dicts and lists, arrays as they were, NaN outside of arrays as None
    """

    folder: Path
    settings: dict[str, Any]
    fields: dict[str, Any]

    def __getitem__(self, field: str) -> Any:
        """Return a field of the Result; a RunFolderError if another minigrok wrote it without one."""
        if field not in self.fields:
            do = f"move {self.folder} away and make it again"
            raise RunFolderError(f"a result with {field!r} in {self.folder}", f"{', '.join(self.fields)}", do)
        return self.fields[field]


def read(run: Run, name: str, protocol: str = "exact") -> Stored | None:
    """Read the result of an analysis of one run, or None if there is none.

    Parameters
    ----------
    run : Run
    name : str        of the analysis
    protocol : str    "exact" or "paper"

    Raises
    ------
    RunFolderError
        There is one, and it is damaged or of another run.
    """
    folder = _folder(run, name, protocol)
    return _stored(run, folder) if (folder / "result.json").exists() else None


def require_whole(run: Run, folder: Path) -> None:
    """Raise a RunFolderError unless the folder holds a whole result of a run."""
    if not (folder / "result.json").exists():
        do = f"make it again: minigrok analyse {folder.name.removesuffix('-paper')} {run.folder}"
        raise RunFolderError(f"a complete result in {folder}", "no result.json", do)
    _stored(run, folder)


def _stored(run: Run, folder: Path) -> Stored:
    """Read the result in a folder; errors as of `read`."""
    try:
        head = _read_head(folder)
        for name in DIGESTED:
            if name in head and _digest(read_file(folder / name, ARRAYS)) != head[name]:
                raise ValueError(f"{name} is damaged, or of another result")
        arrays = unpacked(read_file(folder / "arrays.npz", ARRAYS))
        runs, settings, fields = list(head["runs"].values()), dict(head["settings"]), _restored(head["result"], arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, RunFolderError) as error:
        got = f"{type(error).__name__}: {error}"
        do = f"move {folder} away and make it again: minigrok analyse {folder.name} {run.folder}"
        raise RunFolderError(f"a result in {folder} as minigrok wrote it", got, do) from error
    if config_hash(run.config) not in runs:
        do = f"move {folder} to where it belongs"
        raise RunFolderError(f"a result of {run.folder.name} in {folder}", "one of another run", do)
    return Stored(folder, settings, fields)


def result_folder(analysis: Analysis, runs: Sequence[Run], settings: Any) -> Path:
    """Folder of a result, whether it is there or not."""
    return _folder(runs[0], analysis.name, settings.protocol)


def performed(analysis: Analysis, runs: Sequence[Run], settings: Any) -> bool:
    """Whether the result of this analysis, of these runs and with these settings, is there and complete."""
    folder = result_folder(analysis, runs, settings)
    try:
        found = _read_head(folder)
    except (OSError, ValueError, RecursionError, RunFolderError):
        return False
    wanted = json.loads(json.dumps(_head(analysis, runs, settings)))
    return isinstance(found, dict) and all(found.get(key) == wanted[key] for key in ("analysis", "settings", "runs"))


def save_result(
    folder: Path, analysis: Analysis, runs: Sequence[Run], settings: Any, result: Any, rows: list[Row], check: Check
) -> None:
    """Write the files of a result, each atomically and if the check still holds, `result.json` last."""
    check()
    remove(folder / "result.json")
    content, arrays = to_files(result)
    files = {"arrays.npz": npz(arrays), "table.csv": csv_text(rows).encode(errors="backslashreplace")}
    for name, data in files.items():
        write_atomically(folder / name, data, check)
    check()
    save(analysis.draw(result), folder / "figure")
    sums = {name: _digest(data) for name, data in files.items()}
    head = {"checksum": SEAL} | sums | _head(analysis, runs, settings)
    text = json.dumps(head | {"result": content}, indent=1, allow_nan=False)
    write_atomically(folder / "result.json", seal(text.encode()), check)


@contextmanager
def kept_parts(folder: Path) -> Iterator[Lock]:
    """Make the folder of a job's parts, and lock it while the job is done; then it goes, unless parts are left in it.

    Raises
    ------
    BusyError    another process is at the same job
    """
    make_folder(folder)
    with Lock(folder, ["*.tmp"]) as lock:
        try:
            yield lock
        finally:
            left = list(folder.glob("*"))
            if all(leftover(path.name) for path in left):
                with suppress(OSError):
                    for path in left:
                        path.unlink()
                    folder.rmdir()


def csv_text(rows: list[Row]) -> str:
    """Return rows as CSV, floats by repr so that they round-trip."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: repr(float(v)) if isinstance(v, float) else v for k, v in row.items()})
    return buffer.getvalue()


def _folder(run: Run, name: str, protocol: str) -> Path:
    return run.folder / "analysis" / (name if protocol == "exact" else f"{name}-{protocol}")


def _read_head(folder: Path) -> Any:
    """Return what is in result.json, its checksum compared."""
    data = read_file(folder / "result.json")
    is_sealed(folder / "result.json", data)
    return json.loads(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _head(analysis: Analysis, runs: Sequence[Run], settings: Any) -> dict[str, Any]:
    return {
        "analysis": analysis.name,
        "question": analysis.question,
        "settings": asdict(settings),
        "runs": {run.folder.name: config_hash(run.config) for run in runs},
        "minigrok": __version__,
    }


def _restored(value: Any, arrays: Mapping[str, Array]) -> Any:
    """Undo `base.to_files`."""
    if isinstance(value, dict):
        if value.keys() == {"array", "shape", "dtype"}:
            return arrays[value["array"]]
        return {key: _restored(each, arrays) for key, each in value.items()}
    return [_restored(each, arrays) for each in value] if isinstance(value, list) else value
