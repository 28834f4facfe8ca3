"""Files that every reference output has: where they lie, how they are read, and what is said if one is damaged."""

import json
from pathlib import Path
from typing import Any

from minigrok.errors import MinigrokError
from minigrok.reference.numbers import Expected

HEADS = ("config.toml", "sweep.toml")  # the file that makes a folder a reference: of a run, or of a sweep
IN_CHECKOUT = Path("reference_outputs")
CONSTRAINTS = "constraints.txt"  # beside the references: the versions that they were made with


class ReferenceOutputError(MinigrokError):
    """A reference output that is not there, or damaged."""

    exit_code = 2


def place(folder: Path | None = None) -> Path:
    """Where references lie: the folder that is named, that of a checkout that one is in, or what came with minigrok."""
    here = Path(__file__).parent
    came = (IN_CHECKOUT, here / "shipped", here.parents[1] / IN_CHECKOUT)  # a checkout; a wheel; an editable install
    return folder or next((path for path in came if path.is_dir()), IN_CHECKOUT)


def names(top: Path) -> list[str]:
    """Names of the references in a folder, sorted: its folders with a config.toml or a sweep.toml.

    Raises
    ------
    ReferenceOutputError    no such folder, or none in it
    """
    found = sorted(path.parent.name for head in HEADS for path in top.glob(f"*/{head}"))
    if not found:
        got = "none in it" if top.is_dir() else "no such folder"
        do = "name the folder with --folder, or leave it out: the references that came with minigrok"
        raise ReferenceOutputError(f"a folder of reference outputs at {top}", got, do)
    return found


def require(folder: Path) -> None:
    """Raise a ReferenceOutputError that says what there is, unless the folder is a reference."""
    if not any((folder / head).is_file() for head in HEADS):
        there = ", ".join(names(folder.parent))
        do = "choose one of these; for a new one make the folder with a config.toml, then regenerate it"
        raise ReferenceOutputError(f"a reference {folder.name} in {folder.parent}", there, do)


def read_expected(folder: Path) -> list[Expected]:
    """Numbers that a reference keeps; a ReferenceOutputError if it was never made, or is damaged."""
    path = folder / "expected.json"
    try:
        return [Expected(**number) for number in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise damaged(path, error) from error


def read_environment(folder: Path) -> dict[str, Any]:
    """Why, when and where a reference was made; a ReferenceOutputError if that is not known."""
    path = folder / "environment.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ReferenceOutputError:
    """Return the error of a file that cannot be read."""
    got = f"{type(error).__name__}: {error}"
    do = f"restore it with git, or make it: minigrok reference regenerate {path.parent.name}"
    return ReferenceOutputError(f"{path} as minigrok wrote it", got, do)


def to_json(value: Any) -> bytes:
    """Return the bytes of a JSON file."""
    return (json.dumps(value, indent=2) + "\n").encode()
