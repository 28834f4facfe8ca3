"""The tables of the page p_values, and the checks that hold a study to what it states and to what the page shows."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from study import Study

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / ".ci"))
import tables  # noqa: E402

PAGE = (ROOT / "minigrok" / "docs" / "p_values.md").read_text(encoding="utf-8")
ROUNDING = 0.011  # two of 200 draws: ties that another processor or SciPy decides otherwise


def cells(name: str) -> list[list[str]]:
    """Rows of a table of the page."""
    return [line.strip("| ").split(" | ") for line in tables.rows(PAGE, name)]


def rates(cell: str) -> list[float]:
    """Rates of a cell; -1 where nothing was given."""
    words = re.sub(r" \(\d+ %\)", "", cell).split(", ")
    return [-1.0 if word == "none" else float(word) for word in words]


def wrong(study: Study, name: str) -> list[str]:
    """Return what a study does not keep, and where the page says otherwise."""
    counts, shown = study.counts(), cells(name)
    found = study.broken(counts)
    for row in study.rows(counts):
        stored = [each[-1] for each in shown if each[:-1] == row[:-1]]
        pairs = zip(rates(row[-1]), rates(stored[0]), strict=True) if len(stored) == 1 else [(1.0, 0.0)]
        if any(abs(a - b) > ROUNDING for a, b in pairs):
            found.append(f"{study.name}, {row[1]}: measured {row[-1]}, the page says {stored}")
    return found


def kept_and_found(module: ModuleType) -> list[Callable[[Study], None]]:
    """Return the slow tests of a module's studies: where the null is true, and where an effect is planted."""
    return [_test(module.STUDIES, "calibration"), _test(module.POWER, "power")]


def _test(studies: list[Study], name: str) -> Callable[[Study], None]:
    @pytest.mark.slow
    @pytest.mark.parametrize("study", studies, ids=lambda study: study.name)
    def test(study: Study) -> None:
        assert wrong(study, name) == []

    return test
