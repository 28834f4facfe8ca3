"""What a lecturer projects stays small, and knows nothing of what is built around it."""

import ast
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / ".ci"))

from tables import CORE  # noqa: E402

KNOWN = ("numpy", "scipy.sparse.linalg", *(f"minigrok.{x}" for x in ("checks", "config", "engine", "errors", "layers")))
KNOWN += ("minigrok.network", "minigrok.rng", "minigrok.tasks")
OF_THE_STEP = {  # what the step and the loop need beside these: the run that they write, and what may change a step
    "training/optim.py": (),
    "training/trainer.py": ("minigrok.storage.runs", "minigrok.training"),
    "training/loop.py": ("minigrok.storage.runs", "minigrok.training"),
}


def foreign(source: str, known: tuple[str, ...]) -> list[str]:
    """Modules that a source imports beside the standard library and the known ones."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = ["." * node.level + (node.module or "")] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found += [name for name in names if name and name.split(".")[0] not in sys.stdlib_module_names]
    return [name for name in found if not any(name == each or name.startswith(f"{each}.") for each in known)]


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_nothing_else(name: str) -> None:
    source = (TOP / "minigrok" / name).read_text()
    assert foreign(source, KNOWN + OF_THE_STEP.get(name, ())) == []
    assert source.count("\n") < 350


def test_every_layer_is_in_the_core() -> None:
    layers = {path.relative_to(TOP / "minigrok").as_posix() for path in TOP.glob("minigrok/layers/*.py")}
    assert layers - {"layers/__init__.py"} <= CORE.keys()


def test_an_import_of_something_else_is_seen() -> None:
    lines = ("import math", "import click", "from .. import analyses", "from minigrok.analyses import base")
    bad = "\n".join([*lines, "from minigrok.layers import linear"])
    assert foreign(bad, KNOWN) == ["click", "..", "minigrok.analyses"]
