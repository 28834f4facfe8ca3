"""Tables of README.md and of the pages in minigrok/docs that follow from registries and from stored measurements.

tests/test_docs.py compares, `python .ci/tables.py` writes them anew.
"""

import json
import re
from typing import Any

from blocks import PAGES, ROOT
from minigrok_cli.help import first_sentence, pages
from minigrok_cli.main import main as command_line

from minigrok.analyses import ANALYSES
from minigrok.audit.verdict import TABLE as VERDICTS
from minigrok.bench.report import what
from minigrok.config.arms import BASES
from minigrok.info import arms, presets, sweeps
from minigrok.layers import LAYERS
from minigrok.storage.cadence import FAMILIES

README, ACCURACY = PAGES[0], ROOT / "minigrok" / "docs" / "accuracy.md"
OUTPUTS = ROOT / "reference_outputs"
TORCH, JAX = ("PyTorch eager", "torch.compile"), ("JAX jit", "JAX jit, tuned")
SHORT = {  # rows of README's table of speed, in its words
    "step, float32, 2 threads": "training step, 512 pairs, float32",
    "hvp, float32, batch, 1 direction, 2 threads": "Hessian product, 512 pairs, float32",
    "hvp, float64, train, 1 direction, 2 threads": "Hessian product, all train pairs, float64",
    "eval, float32, 2 threads": "evaluation, all pairs, float32",
}
CORE = {  # what a lecturer projects, in that order: tests/test_core.py keeps it free of everything else
    "layers/linear.py": "the first layer: four maps under four formulas",
    "layers/embedding.py": "a token and its position become a row",
    "layers/select.py": "rows are picked, and their derivatives added up",
    "layers/projection.py": "picking and projecting in the cheaper order",
    "layers/layernorm.py": "a derivative is a projection",
    "layers/sphere.py": "the same without a mean: rows of unit length",
    "layers/gelu.py": "a function of one number, and its two derivatives",
    "layers/attention.py": "softmax and its derivative, diag(p) - p p^T",
    "layers/uniform.py": "attention that does not attend",
    "layers/cosine.py": "logits that are cosines",
    "layers/cross_entropy.py": "a loss that is exact where it is tiny",
    "layers/sums.py": "three bodies that the layers share",
    "network/params.py": "named arrays in one flat vector",
    "network/norms.py": "which of the two norms it is",
    "network/block.py": "one Transformer block in two halves",
    "network/sphere_block.py": "the same between two spheres",
    "network/model.py": "the network: a straight list of calls, four times",
    "network/shards.py": "forward, backward and products of a batch",
    "network/sharded.py": "the same, one thread a part of the batch",
    "network/objective.py": "loss, gradient and Hessian product as functions of theta",
    "training/optim.py": "AdamW and clipping",
    "training/trainer.py": "one training step",
    "training/loop.py": "the training loop",
}
Works = dict[str, dict[str, dict[str, Any]]]  # words of a work -> contender -> its row in the report


def tables() -> dict[str, list[str]]:
    """Return the rows of each table, without its head, by the name in the comment <!-- table: NAME -->."""
    helps = {name: command.get_short_help_str(limit=200) for name, command in command_line.commands.items()}
    return {
        "layers": [_row(f"`minigrok.layers.{x.name}`", f"`{x.forward}`") for x in LAYERS],
        "analyses": [_row(f"`{name}`", x.question, x.source) for name, x in ANALYSES.items()],
        "cadence": [_row(name, str(x.attention), str(x.checkpoint)) for name, x in FAMILIES.items()],
        "arms": [_row(f"`{x['name']}`", x["does"], x["doses"], x["plane"], x["source"]) for x in arms()],
        "verdicts": [_row(*map(_fact, facts)) for facts in VERDICTS],
        "planes": [_row(f"`{name}`", words) for name, words in BASES.items()],
        "presets": [_row(f"`{x['name']}`", f"{x['parameters']:,}", x["description"]) for x in presets()],
        "sweeps": [_row(f"`{x['name']}`", str(x["runs"]), x["description"]) for x in sweeps()],
        "commands": [_row(f"`minigrok {name}`", text) for name, text in helps.items()],
        "pages": [_row(f"[{topic}](minigrok/docs/{topic}.md)", first_sentence(x)) for topic, x in pages().items()],
        "claim": [_row(*_cells(line)[:5]) for line in _measured("| all parameters, uncentred |")],
        "core": [_row(f"`minigrok/{name}`", str(_lines(name)), words) for name, words in CORE.items()],
        "accuracy, short": [_row(*_cells(x)[:4], _cells(x)[-1]) for x in rows(ACCURACY.read_text("utf-8"), "accuracy")],
        "speed, short": [_row(*cells) for cells in speed_short(works())],
        "speed": [_row(*cells) for cells in speed(works())],
    }


def _fact(fact: bool | str | None) -> str:
    """Return a fact of the audit's table: a dash fits everything."""
    return fact if isinstance(fact, str) else "-" if fact is None else "yes" if fact else "no"


def _lines(name: str) -> int:
    return (ROOT / "minigrok" / name).read_text("utf-8").count("\n")


def works() -> Works:
    """Return what the stored reports measured: a row a work and contender."""
    found: Works = {}
    for path in sorted((OUTPUTS / "bench").glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        threads = report["settings"]["threads"]
        for name, measured in report["sections"].items():
            for row in measured:
                if name in ("step", "hvp", "eval", "load") and "error" not in row:
                    words = f"{what(row['work'])}, {threads} thread{'s' if threads > 1 else ''}"
                    words += ", one CPU busy" if name == "load" else ""
                    found.setdefault(words, {})[row["label"]] = row
    return found


def speed(found: Works) -> list[list[str]]:
    """Return a row a work: milliseconds, and the peer's times minigrok's with the extremes over the rounds."""
    return [
        [words, *(_time(measured.get(label)) for label in ("minigrok", *TORCH, *JAX))]
        for words, measured in found.items()
        if "minigrok" in measured
    ]


def speed_short(found: Works) -> list[list[str]]:
    """Return the rows of `SHORT`: minigrok beside the fastest PyTorch and the fastest JAX that was measured."""

    def fastest(work: str, labels: tuple[str, ...]) -> dict[str, Any]:
        return min((found[work][x] for x in labels if x in found[work]), key=lambda row: row["median_ms"])

    return [
        [text, _time(found[work]["minigrok"]), _time(fastest(work, TORCH)), _time(fastest(work, JAX))]
        for work, text in SHORT.items()
    ]


def _time(row: dict[str, Any] | None) -> str:
    """Return milliseconds, and how many times minigrok's they are; "-" for what was not measured."""
    if row is None:
        return "-"
    text, ratio = f"{float(format(row['median_ms'], '.3g')):,g} ms", row.get("ratio")
    return f"{text}, **{ratio['median']:.1f}x** ({ratio['low']:.1f} .. {ratio['high']:.1f})" if ratio else text


def _measured(start: str) -> list[str]:
    """Return the lines of BEYOND.md that start so."""
    return [x for x in (OUTPUTS / "BEYOND.md").read_text(encoding="utf-8").splitlines() if x.startswith(start)]


def rows(text: str, name: str) -> list[str]:
    """Return the rows of a table as they stand in the text."""
    place = _place(text, name)
    assert place, f"no table {name}"
    return place["rows"].splitlines()


def names(text: str) -> list[str]:
    """Return the names of the tables in the text."""
    return re.findall(r"<!-- table: (.*?) -->", text)


def rewritten(text: str) -> str:
    """Return the text with all its tables as they should be."""
    for name, wanted in tables().items():
        if name in names(text):
            text = replaced(text, name, wanted)
    return text


def replaced(text: str, name: str, wanted: list[str]) -> str:
    """Return the text with the rows of one table replaced."""
    place = _place(text, name)
    assert place, f"no table {name}"
    return text[: place.start("rows")] + "\n".join(wanted) + "\n" + text[place.end("rows") :]


def _place(text: str, name: str) -> re.Match[str] | None:
    return re.search(rf"<!-- table: {name} -->\n(?:\|.*\n){{2}}(?P<rows>(?:\|.*\n)*)", text)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
