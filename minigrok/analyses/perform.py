"""Performing an analysis on run folders: settings from text, cache, and the files of a result.

    RUN/analysis/NAME/result.json    settings, runs, versions and every scalar; arrays are named there
                     /arrays.npz     the arrays (no pickle)
                     /table.csv      the rows of the table
                     /figure.png     and figure.svg
                     /parts/         what a killed sitting had finished; removed at the end
A comparison of several runs is saved in the first one's folder.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

from minigrok import __version__
from minigrok.analyses.base import Analysis, Row, Work, fingerprint, npz, plain, to_files
from minigrok.checks import check_types, nearest
from minigrok.config import config_hash, toml_value
from minigrok.errors import ConfigError
from minigrok.plotting import save
from minigrok.storage.files import make_folder, write_atomically
from minigrok.storage.runs import Run

PROTOCOLS = ("exact", "paper")


class Performed(NamedTuple):
    """What came out, and where it is."""

    result: Any
    rows: list[Row]
    folder: Path


def settings_for(analysis: Analysis, protocol: str, assignments: Sequence[str]) -> Any:
    """Return the analysis' settings with some changed.

    Parameters
    ----------
    analysis : Analysis
    protocol : str                 "exact" or "paper"
    assignments : list of str      "key=value", the value as in TOML

    Raises
    ------
    ConfigError
        Unknown key, or a value of another type.
    """
    names = [f.name for f in fields(analysis.settings)]
    values: dict[str, Any] = {"protocol": protocol}
    for assignment in assignments:
        key, found, text = assignment.partition("=")
        if not found or key.strip() not in names:
            do = nearest(key.strip(), names)
            raise ConfigError(f"KEY=VALUE with a setting of {analysis.name}", repr(assignment), do)
        values[key.strip()] = toml_value(text)
    if values["protocol"] not in PROTOCOLS:
        raise ConfigError('protocol "exact" or "paper"', repr(values["protocol"]), "choose one")
    settings = analysis.settings(**values)
    check_types(settings, analysis.name)
    return settings


def perform(
    analysis: Analysis,
    runs: Sequence[Run],
    settings: Any,
    report: Callable[[int, int, str], None] = lambda done, of, words: None,
) -> Performed:
    """Compute, or resume, an analysis and save its result in the first run's folder.

    Parameters
    ----------
    analysis : Analysis
    runs : sequence of Run       one, unless `analysis.many`
    settings : dataclass         of `analysis.settings`
    report : function            (done, of, words), for a progress bar
    """
    folder = result_folder(analysis, runs, settings)
    parts = folder / "parts"
    work = Work(runs[0].config.seed, parts, fingerprint(analysis, runs, settings), report)
    result = analysis.compute(runs, settings, work)
    rows = [{column: plain(value) for column, value in row.items()} for row in analysis.table(result)]
    save_result(folder, analysis, runs, settings, result, rows)
    shutil.rmtree(parts, ignore_errors=True)
    return Performed(result, rows, folder)


def result_folder(analysis: Analysis, runs: Sequence[Run], settings: Any) -> Path:
    """Folder of a result, whether it is there or not."""
    name = analysis.name if settings.protocol == "exact" else f"{analysis.name}-{settings.protocol}"
    return runs[0].folder / "analysis" / name


def performed(analysis: Analysis, runs: Sequence[Run], settings: Any) -> bool:
    """Whether the result of this analysis, of these runs and with these settings, is there and complete."""
    folder = result_folder(analysis, runs, settings)
    try:
        found = json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError):
        return False
    wanted = json.loads(json.dumps(_head(analysis, runs, settings)))
    same = all(found.get(key) == wanted[key] for key in ("analysis", "settings", "runs"))
    return same and (folder / "figure.svg").exists()  # the last file that is written


def _head(analysis: Analysis, runs: Sequence[Run], settings: Any) -> dict[str, Any]:
    return {
        "analysis": analysis.name,
        "question": analysis.question,
        "settings": asdict(settings),
        "runs": {run.folder.name: config_hash(run.config) for run in runs},
        "minigrok": __version__,
    }


def save_result(
    folder: Path, analysis: Analysis, runs: Sequence[Run], settings: Any, result: Any, rows: list[Row]
) -> None:
    """Write the files of a result, each atomically."""
    make_folder(folder)
    content, arrays = to_files(result)
    head = _head(analysis, runs, settings)
    text = json.dumps(head | {"result": content}, indent=1, allow_nan=False)
    write_atomically(folder / "result.json", text.encode())
    write_atomically(folder / "arrays.npz", npz(arrays))
    write_atomically(folder / "table.csv", csv_text(rows).encode())
    save(analysis.figure(result), folder / "figure")


def csv_text(rows: list[Row]) -> str:
    """Return rows as CSV, floats by repr so that they round-trip."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: repr(float(v)) if isinstance(v, float) else v for k, v in row.items()})
    return buffer.getvalue()
