"""Performing an analysis on run folders: settings from text, and parts that a killed sitting keeps.

    RUN/analysis/NAME/parts/    what a killed sitting had finished; removed at the end
The files of a result: `results`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

from minigrok.analyses.base import Analysis, Protocol, Row, Settings, Work, fingerprint, plain_row
from minigrok.analyses.results import result_folder, save_result
from minigrok.checks import check_types, nearest, require
from minigrok.config import toml_value
from minigrok.errors import ConfigError
from minigrok.storage.runs import Run


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
        Unknown key, a value of another type, or out of its bounds.
    """
    names = [f.name for f in fields(analysis.settings)]
    values: dict[str, Any] = {"protocol": protocol}
    for assignment in assignments:
        key, found, text = assignment.partition("=")
        if not found or key.strip() not in names:
            do = nearest(key.strip(), names)
            raise ConfigError(f"KEY=VALUE with a setting of {analysis.name}", repr(assignment), do)
        values[key.strip()] = toml_value(text)
    settings = analysis.settings(**values)
    return settings if isinstance(settings, Settings) else _checked(settings, analysis.name)


def _checked(settings: Any, name: str) -> Any:
    """Check what `Settings` checks but the bounds: goes with the last class that does not derive from it."""
    require(settings.protocol in get_args(Protocol), f"{name}.protocol", "exact or paper", repr(settings.protocol))
    check_types(settings, name)
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
