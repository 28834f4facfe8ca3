"""Texts beside the numbers: formula and note of each claim, the source of what computes it, glossary.

Code is read from the functions themselves, so that it cannot drift from what ran.
"""

import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple

from minigrok.audit.claims import Claim
from minigrok.audit.rules import KINDS
from minigrok.config import read_toml


class Text(NamedTuple):
    """What stands beside a claim: LaTeX, what its letters are, "module:function", a note; "" for none."""

    formula: str = ""
    words: str = ""
    code: str = ""
    note: str = ""


@cache
def texts() -> Mapping[str, Any]:
    """Return texts.toml: quantity, claim, glossary, verdict."""
    text = resources.files("minigrok.report").joinpath("texts.toml").read_text("utf-8")
    return MappingProxyType(read_toml(text, "texts"))


def of_claim(claim: Claim) -> Text:
    """Return the texts of a claim: its own, and for the rest those of its analysis."""
    analysis = claim.quantity.analysis if claim.quantity else ""
    return Text(**{**texts()["quantity"].get(analysis, {}), **texts()["claim"].get(claim.id, {})})


def source(name: str) -> str:
    """Return the source of "module:function" or "module:class.method"."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return inspect.cleandoc("\n" + inspect.getsource(found))


def rules() -> dict[str, str]:
    """Return the source of each kind's rule, by the names of its kinds."""
    kinds: dict[str, list[str]] = {}
    for kind, rule in KINDS.items():
        kinds.setdefault(inspect.getsource(rule), []).append(kind)
    return {", ".join(names): code for code, names in kinds.items()}
