"""Results of analyses on disk: written whole, and read back by the names of their fields.

    RUN/analysis/NAME/arrays.npz     the arrays (no pickle)
                     /table.csv      the rows of the table
                     /figure.png     and figure.svg
                     /result.json    settings, runs, versions and every scalar; arrays are named there
`result.json` is taken away first and written last: where it is, the result is complete.
The paper's protocol has a folder of its own, NAME-paper. A comparison of several runs is saved in the first one's
folder.
"""

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrok.analyses.base import Analysis, Row, npz, to_files
from minigrok.config import config_hash
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.plotting import save
from minigrok.storage.files import make_folder, write_atomically
from minigrok.storage.runs import Run
from minigrok.version import __version__


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
    if not (folder / "result.json").exists():
        return None
    try:
        head = json.loads((folder / "result.json").read_bytes())
        with np.load(folder / "arrays.npz", allow_pickle=False) as file:
            arrays = dict(file)
        runs, settings, fields = list(head["runs"].values()), dict(head["settings"]), _restored(head["result"], arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        do = f"move {folder} away and make it again: minigrok analyse {name} {run.folder}"
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
        found = json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    wanted = json.loads(json.dumps(_head(analysis, runs, settings)))
    return isinstance(found, dict) and all(found.get(key) == wanted[key] for key in ("analysis", "settings", "runs"))


def save_result(
    folder: Path, analysis: Analysis, runs: Sequence[Run], settings: Any, result: Any, rows: list[Row]
) -> None:
    """Write the files of a result, each atomically, `result.json` last."""
    make_folder(folder)
    (folder / "result.json").unlink(missing_ok=True)
    content, arrays = to_files(result)
    write_atomically(folder / "arrays.npz", npz(arrays))
    write_atomically(folder / "table.csv", csv_text(rows).encode(errors="backslashreplace"))
    save(analysis.draw(result), folder / "figure")
    text = json.dumps(_head(analysis, runs, settings) | {"result": content}, indent=1, allow_nan=False)
    write_atomically(folder / "result.json", text.encode())


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
