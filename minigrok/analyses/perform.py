"""Performing an analysis on run folders: settings from text, and parts that a killed sitting keeps.

    RUN/analysis/NAME/parts/    what a killed sitting had finished; removed at the end
The files of a result: `results`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from minigrok.analyses.base import Analysis, Row, Work, fingerprint, plain_row
from minigrok.analyses.results import result_folder, save_result
from minigrok.checks import check_types, nearest
from minigrok.config import toml_value
from minigrok.errors import ConfigError
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
    rows = [plain_row(row) for row in analysis.table(result)]
    save_result(folder, analysis, runs, settings, result, rows)
    shutil.rmtree(parts, ignore_errors=True)
    return Performed(result, rows, folder)
