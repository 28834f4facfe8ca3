"""Values and tables for people: the text of a cell, and a table in a notebook."""

from collections.abc import Mapping, Sequence
from html import escape

WHOLE = 1e7  # numbers from here on have an exponent: our choice
ROWS = 30  # of a table in a notebook, at most: our choice


def cell(value: object) -> str:
    """Return a value as the text of a table cell."""
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        whole = abs(value) < WHOLE and (value.is_integer() or abs(value) >= 1e4)  # steps, not 1.01e+04
        return f"{value:.0f}" if whole else f"{value:.4g}"
    return str(value)


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
