"""Publish analyses of runs, and write FINDINGS.md with numbers taken from their tables.

    findings.py publish RUNS     copy table (and figure) of every RUNS/*/analysis/* to reference_outputs/analyses
    findings.py write            fill reference_outputs/findings.in.md and write FINDINGS.md beside it

In findings.in.md a number is a place in a table, so that no number is typed:

    {{gram/dual-s42 ~ window=all; task=add ~ decline ~ .1f}}        one cell: file, row, column, format
The row is the only one whose columns have these values. tests/test_findings.py compares the page with its tables.
"""

import csv
import io
import json
import re
import sys
from pathlib import Path

from PIL import Image

from minigrok.info import environment
from minigrok.storage.files import make_folder, write_atomically

TOP = Path(__file__).parent.parent / "reference_outputs"
FIGURES = ("dual-s42", "dual-ten", "dual-wd0-s42", "tri-s42")  # the others repeat them; their tables are kept
PLACE = re.compile(r"\{\{(?P<file>[^~}]+)~(?P<row>[^~}]*)~(?P<column>[^~}]+)~(?P<format>[^~}]*)\}\}")


def cell(folder: Path, place: str, selector: str, column: str) -> str:
    """Return the text of one cell; a LookupError says what is wrong with its place."""
    name, run = place.strip().split("/")
    wanted = dict(part.strip().split("=", 1) for part in selector.split(";") if part.strip())
    with (folder / name / f"{run}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]
    if len(rows) != 1:
        raise LookupError(f"{place.strip()}: {len(rows)} rows with {wanted}; name the columns of exactly one")
    return rows[0][column.strip()]


def filled(text: str, folder: Path) -> str:
    """Return the page with every place replaced by its number."""

    def number(match: re.Match[str]) -> str:
        value = cell(folder, match["file"], match["row"], match["column"])
        return format(float(value), match["format"].strip()) if match["format"].strip() else value

    return PLACE.sub(number, text)


def small(path: Path) -> bytes:
    """Return a picture with 64 colours, a third of its size."""
    buffer = io.BytesIO()
    Image.open(path).convert("RGB").quantize(64).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def publish(runs: Path) -> None:
    """Copy tables and figures of all analyses, and say where they were made."""
    for result in sorted(runs.glob("*/analysis/*/result.json")):
        folder, run = TOP / "analyses" / result.parent.name, result.parents[2].name
        make_folder(folder)
        write_atomically(folder / f"{run}.csv", (result.parent / "table.csv").read_bytes())
        if run in FIGURES:
            write_atomically(folder / f"{run}.png", small(result.parent / "figure.png"))
        content = json.loads(result.read_text(encoding="utf-8"))
        made = {key: content[key] for key in ("question", "settings", "runs", "minigrok")}
        write_atomically(folder / f"{run}.json", (json.dumps(made, indent=1) + "\n").encode())
    write_atomically(TOP / "analyses" / "environment.json", (json.dumps(environment(), indent=1) + "\n").encode())


def write() -> None:
    """Write FINDINGS.md."""
    text = (TOP / "findings.in.md").read_text(encoding="utf-8")
    write_atomically(TOP / "FINDINGS.md", filled(text, TOP / "analyses").encode())


if __name__ == "__main__":
    publish(Path(sys.argv[2])) if sys.argv[1] == "publish" else write()
