"""Tables of README.md that follow from registries and from stored measurements.

tests/test_readme.py compares, this script writes them anew.
"""

import json
import re
from pathlib import Path
from typing import Any

from minigrok_cli.main import main as command_line

from minigrok.analyses import ANALYSES
from minigrok.bench.report import what
from minigrok.config.arms import BASES
from minigrok.info import arms, presets, sweeps
from minigrok.layers import LAYERS

README = Path(__file__).parent.parent / "README.md"
BENCH = README.parent / "reference_outputs" / "bench"
SPEED = ("minigrok", "PyTorch eager", "torch.compile", "JAX jit", "JAX jit, tuned")  # the table's columns


def tables() -> dict[str, list[str]]:
    """Return the rows of each table, without its head, by the name in the comment <!-- table: NAME -->."""
    helps = {name: command.get_short_help_str(limit=200) for name, command in command_line.commands.items()}
    return {
        "layers": [_row(x.name, _link(f"minigrok/layers/{x.name}.py"), f"`{x.forward}`") for x in LAYERS],
        "analyses": [_row(_link(f"minigrok/analyses/{n}.py", n), x.question, x.source) for n, x in ANALYSES.items()],
        "arms": [_row(f"`{x['name']}`", x["does"], x["doses"], x["plane"], x["source"]) for x in arms()],
        "planes": [_row(f"`{name}`", words) for name, words in BASES.items()],
        "presets": [_row(f"`{x['name']}`", f"{x['parameters']:,}", x["description"]) for x in presets()],
        "sweeps": [_row(f"`{x['name']}`", str(x["runs"]), x["description"]) for x in sweeps()],
        "commands": [_row(f"`minigrok {name}`", text) for name, text in helps.items()],
        "speed": [_row(*cells) for cells in speed()],
    }


def speed() -> list[list[str]]:
    """Return a row a work: milliseconds, and the peer's times minigrok's with the extremes over the rounds."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(BENCH.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        threads = report["settings"]["threads"]
        for name, rows in report["sections"].items():
            for row in rows:
                if name in ("step", "hvp", "eval", "load") and row["label"] in SPEED and "error" not in row:
                    words = f"{what(row['work'])}, {threads} thread{'s' if threads > 1 else ''}"
                    words += ", one CPU busy" if name == "load" else ""
                    found.setdefault(words, {})[row["label"]] = _time(row)
    return [[words, *(cells.get(label, "-") for label in SPEED)] for words, cells in found.items()]


def _time(row: dict[str, Any]) -> str:
    """Return milliseconds, and how many times minigrok's they are."""
    text, ratio = f"{row['median_ms']:.3g} ms", row.get("ratio")
    return f"{text}, **{ratio['median']:.1f}x** ({ratio['low']:.1f} .. {ratio['high']:.1f})" if ratio else text


def rows(text: str, name: str) -> list[str]:
    """Return the rows of a table as they stand in the text."""
    return _place(text, name)["rows"].splitlines()


def rewritten(text: str) -> str:
    """Return the text with all tables as they should be."""
    for name, wanted in tables().items():
        text = replaced(text, name, wanted)
    return text


def replaced(text: str, name: str, wanted: list[str]) -> str:
    """Return the text with the rows of one table replaced."""
    place = _place(text, name)
    return text[: place.start("rows")] + "\n".join(wanted) + "\n" + text[place.end("rows") :]


def _place(text: str, name: str) -> re.Match[str]:
    place = re.search(rf"<!-- table: {name} -->\n(?:\|.*\n){{2}}(?P<rows>(?:\|.*\n)*)", text)
    assert place, f"{README} has no table {name}"
    return place


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _link(path: str, text: str | None = None) -> str:
    return f"[{text or path}]({path})"


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text(encoding="utf-8")), encoding="utf-8")
