"""A layer's docstring as a table of formulas: title, symbols, maps, and what is said below them."""

import re
from dataclasses import dataclass

from minigrok.lessons.notation import NotationError, latex

MAPS = ("forward", "backward", "R-forward", "R-backward")
WORDS_BELOW = re.compile(r"\s+(?=(?:is|where|the)\b)")  # a formula ends where prose begins


@dataclass(frozen=True)
class Piece:
    """A formula in LaTeX, or words."""

    text: str
    latex: str  # "": words


@dataclass(frozen=True)
class Page:
    """What a docstring says.

    Attributes
    ----------
    title : str
    symbols : list of lines, each a list of pieces
    maps : list of (name, pieces)    the name of a map in its first line, "" in the next ones
    note : str                       what stands between them and below
    """

    title: str
    symbols: list[list[Piece]]
    maps: list[tuple[str, list[Piece]]]
    note: str


def read(docstring: str) -> Page:
    """Return the parts of a layer's docstring.

    Raises
    ------
    NotationError    a line of the maps has no formula
    """
    title, _, rest = docstring.strip().partition("\n")
    symbols: list[list[Piece]] = []
    maps: list[tuple[str, list[Piece]]] = []
    note: list[str] = []
    block = ""
    for line in rest.splitlines():
        if line.startswith("    ") and block == "Symbols":
            symbols.append(pieces(line.strip()))
        elif line.startswith("    ") and block == "Maps":
            name, formulas = _labelled(line)
            found = pieces(formulas)
            if not any(each.latex for each in found):
                raise NotationError(f"no formula in {line!r}")
            maps.append((name, found))
        else:
            block = line.split(" ")[0] if line.startswith(("Symbols", "Maps")) else ""
            told = re.search(r"\((.*)\)$", line) if block else None
            note.append(f"{told[1][0].upper()}{told[1][1:]}.\n" if told else "" if block else line)
    return Page(title, symbols, maps, re.sub(r"\n{2,}", "\n\n", "\n".join(note)).strip())


def _labelled(line: str) -> tuple[str, str]:
    text = line.strip()
    for name in MAPS:
        if text.startswith(f"{name} "):
            return name, text.removeprefix(name).strip()
    return "", text


def pieces(line: str) -> list[Piece]:
    """Return the formulas and words of a line; columns are two spaces apart, an equals sign stays with what is left."""
    columns = re.split(r"\s{2,}", re.sub(r"(?<=\S)\s+=", " =", line))
    return [piece for column in columns for piece in _split(column.rstrip(",").strip())]


def _split(column: str) -> list[Piece]:
    """A column is a formula, a formula and words, or words."""
    head, *tail = WORDS_BELOW.split(column, maxsplit=1)
    try:
        if "=" not in head or _is_prose(head):
            raise NotationError("words")
        return [Piece(head, latex(head)), *(Piece(words, "") for words in tail)]
    except NotationError:
        return [Piece(column, "")]


def _is_prose(text: str) -> bool:
    """Words that happen to be readable have a comma with words behind."""
    return bool(re.search(r"\b(?:of|in|and|which|from|every|row|kept)\b", text))
