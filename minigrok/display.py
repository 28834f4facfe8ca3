"""Values and tables for people: what a terminal may be shown, durations, the text of a cell, a table in a notebook."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any
from unicodedata import category

WHOLE = 1e7  # numbers from here on have an exponent: our choice
ROWS = 30  # of a table in a notebook, at most: our choice
LONG = 200  # characters of a value that an error quotes whole: our choice


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: control characters, and what has no glyph, as a Python string has them.

    Names and messages come from files that others may have written. Line feeds, tabs and spaces stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else ascii(c)[1:-1] for c in text)


def brief(value: object, show: Callable[[Any], str] = repr) -> str:
    """Return a value as an error quotes it, whatever its size or depth: the middle of a long one is left out."""
    try:
        text = show(value)
    except ValueError:  # Python writes no integer of more digits
        return "a number of more than 4,300 digits"
    except RecursionError:
        return "values nested too deep to show"
    return text if len(text) <= LONG else f"{text[: LONG // 2]} ... {text[-LONG // 4 :]} ({len(text):,} characters)"


def cell(value: object) -> str:
    """Return a value as the text of a table cell."""
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        whole = abs(value) < WHOLE and (value.is_integer() or abs(value) >= 1e4)  # steps, not 1.01e+04
        return f"{value:.0f}" if whole else f"{value:.4g}"
    return str(value)


def duration(seconds: float) -> str:
    """Return "40 s", "12 min", "3.5 h" or "2.1 days"; "unknown" for nan."""
    if math.isnan(seconds):
        return "unknown"
    for limit, unit, name in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{0 if seconds >= 10 * unit else 1}f} {name}"
    return f"{seconds / 86400:.1f} days"


def html_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as an HTML table, every text escaped, the first `ROWS` of them; "" for none."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = [
        "".join(f"<td>{escape(cell(value)) if value is not None else '-'}</td>" for value in row.values())
        for row in rows[:ROWS]
    ]
    more = f"<p>and {len(rows) - ROWS} more rows: see .table</p>" if len(rows) > ROWS else ""
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{cells}</tr>' for cells in body)}</table>{more}"
