"""Performing an analysis on run folders: settings from text, and parts that a killed sitting keeps.

    RUN/analysis/NAME/parts/    what a killed sitting had finished, locked by who is at it; removed at the end
The files of a result: `results`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrok.analyses.base import Analysis, Row, Work, fingerprint, plain_row
from minigrok.analyses.results import kept_parts, performed, read, result_folder, save_result
from minigrok.checks import nearest
from minigrok.config import toml_value
from minigrok.engine.threads import one_blas_thread
from minigrok.errors import ConfigError, NonFiniteError
from minigrok.storage.runs import Run

CHEAP = ("grok_order", "dose_response")  # comparisons that read tables alone: made whenever they are asked for


class Performed(NamedTuple):
    """What came out, and where it is."""

    result: Any
    rows: list[Row]
    folder: Path


def settings_for(analysis: Analysis, protocol: str, assignments: Sequence[str]) -> Any:
    """Return the settings of an analysis with some changed; each "key=value", the value as in TOML.

    Raises
    ------
    ConfigError
        No "=", or as `settings_of`.
    """
    values: dict[str, Any] = {"protocol": protocol}
    for assignment in assignments:
        key, found, text = assignment.partition("=")
        if not found:
            do = nearest(key.strip(), _names(analysis))
            raise ConfigError(f"KEY=VALUE with a setting of {analysis.name}", repr(assignment), do)
        require_setting(analysis, key.strip(), assignment)
        values[key.strip()] = toml_value(text)
    return settings_of(analysis, values)


def settings_of(analysis: Analysis, values: Mapping[str, Any]) -> Any:
    """Return the settings of an analysis with some changed.

    Raises
    ------
    ConfigError
        Unknown key, a value of another type, or one out of its bounds.
    """
    for key in values:
        require_setting(analysis, key, key)
    return analysis.settings(**values)


def require_setting(analysis: Analysis, key: str, got: str) -> None:
    """Raise a ConfigError unless the analysis has a setting of this name."""
    if key not in _names(analysis):
        raise ConfigError(f"KEY=VALUE with a setting of {analysis.name}", repr(got), nearest(key, _names(analysis)))


def _names(analysis: Analysis) -> list[str]:
    return [item.name for item in fields(analysis.settings)]


def result_of(
    analysis: Analysis, run: Run, settings: Any, say: Callable[[str], None], is_making: bool = True
) -> Any | None:
    """Return the result of an analysis of one run, read from its folder or made; None: not there, and not to be made.

    A comparison is made of the run alone, and not saved, and neither is an analysis whose folder has a result with
    other settings: what of it is long is kept in RUN/analysis/audit-NAME/parts.
    say : called with what it will cost, before anything long.
    """
    protocol = settings.protocol
    if not analysis.many and performed(analysis, [run], settings):
        return read(run, analysis.name, protocol).fields  # type: ignore[union-attr]
    if analysis.name in CHEAP:
        return analysis.compute([run], settings, Work(run.config.seed))
    if not is_making:
        return None
    say(f"{run.folder.name}: {analysis.name} ({protocol}), {analysis.cost([run], settings)}")
    if not analysis.many and not (result_folder(analysis, [run], settings) / "result.json").exists():
        perform(analysis, [run], settings)
        return read(run, analysis.name, protocol).fields  # type: ignore[union-attr]
    parts = run.path("analysis", f"audit-{analysis.name}-{protocol}", "parts")
    with kept_parts(parts):
        return analysis.compute([run], settings, Work(run.config.seed, parts, fingerprint(analysis, [run], settings)))


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

    Raises
    ------
    BusyError         another process is at the same analysis of the same run
    NonFiniteError    the run, or what is computed of it, is NaN or infinite
    ConfigError, RunFolderError    as the analysis says
    """
    folder = runs[0].path("analysis", result_folder(analysis, runs, settings).name)
    parts = runs[0].path("analysis", folder.name, "parts")
    with kept_parts(parts) as lock:
        work = Work(runs[0].config.seed, parts, fingerprint(analysis, runs, settings), report)
        try:
            with one_blas_thread():
                result = analysis.compute(runs, settings, work)
        except np.linalg.LinAlgError as error:  # NumPy's word for a matrix that holds NaN or infinity
            do = "take the part of the run before its numbers left the range"
            raise NonFiniteError(f"finite numbers in {runs[0].folder} for {analysis.name}", str(error), do) from error
        rows = [plain_row(row) for row in analysis.table(result)]
        save_result(folder, analysis, runs, settings, result, rows, lock.take)
        work.forget()
    return Performed(result, rows, folder)
