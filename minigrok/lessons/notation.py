r"""Reads the formulas of the layers' docstrings, and writes them in LaTeX.

What a formula is made of
    names        x, dW, Rdx, gain, mu: a symbol; d and R before one are derivatives; some are functions (FUNCTIONS)
    subscripts   p_ts, sum_i, dx_k: all that follows; x_index(i), sum_{c != k}: with brackets or braces
    powers       W^T, r^(-1/2), x^2
    products     x W^T: side by side; x . y: a dot
    fractions    p / q: of all since the last plus, minus or bracket, by the next factor; 1/T: of the two beside it
    relations    =, !=, and a comma between formulas
Whatever else is there is a NotationError: no formula is shown wrongly because it was not understood.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

FUNCTIONS = ("sum", "mean", "exp", "log", "erf", "sqrt", "softmax", "cdf", "pdf", "select", "var", "sphere")
WORDS = ("gain", "shift", "slope", "loss", "scale", "token", "position", "SCALE", "EPS", "index")
GREEK = {"mu": r"\mu", "eps": r"\varepsilon", "pi": r"\pi", "theta": r"\theta"}
NAME = re.compile(
    r"(?P<marks>R?d?)(?P<base>" + "|".join(sorted(WORDS + tuple(GREEK), key=len, reverse=True)) + r"|[A-Za-z])'*$"
)
TOKEN = re.compile(r"\s*(?P<token>[A-Za-z]+'*|\d+(?:\.\d+)?|!=|[-+=/^_(){}:,.])")


class NotationError(ValueError):
    """A formula that is not in the notation of the layers."""


@dataclass
class _Reader:
    """A formula and the place in it."""

    text: str
    at: int = 0

    def peek(self) -> str:
        """Return the next token, "" at the end."""
        found = TOKEN.match(self.text, self.at)
        if not found and self.text[self.at :].strip():
            raise NotationError(f"cannot read {self.text[self.at :]!r} in {self.text!r}")
        return found["token"] if found else ""

    def take(self) -> str:
        """Return the next token, and step over it."""
        found = TOKEN.match(self.text, self.at)
        if not found:
            raise NotationError(f"{self.text!r} ends too early")
        self.at = found.end()
        return found["token"]

    def touches(self) -> bool:
        """Return whether the next character is no space."""
        return not self.text[self.at : self.at + 1].isspace()


def latex(formula: str) -> str:
    r"""Return a formula in LaTeX.

    Raises
    ------
    NotationError    it has something that the layers' notation does not have

    Examples
    --------
    >>> latex("dx = dy W")
    '\\mathrm{d}x = \\mathrm{d}y \\, W'
    """
    reader = _Reader(formula.strip())
    text = _expression(reader, "")
    if reader.peek():
        raise NotationError(f"cannot read {reader.text[reader.at :]!r} in {formula!r}")
    return text


def _expression(reader: _Reader, end: str) -> str:
    """Terms with signs and relations between them, up to the token `end`, which stays."""
    signs = {"!=": r"\neq", ":": ":", ",": r",\;"}
    parts = []
    while (token := reader.peek()) and token != end:
        if token in ("+", "-", "=", "!=", ":", ","):
            parts.append(signs.get(reader.take(), token))
        else:
            parts.append(_term(reader))
    return " ".join(parts)


def _term(reader: _Reader) -> str:
    """Factors side by side; a spaced slash divides all of them, a tight one the last."""
    factors: list[str] = []
    while (token := reader.peek()) and (token[0].isalnum() or token in "(./"):
        tight = reader.touches()
        if token == "/":
            reader.take()
            if not factors:
                raise NotationError(f"nothing before / in {reader.text!r}")
            over, under = (factors.pop() if tight else _product(factors)), _factor(reader)
            factors = [*(factors if tight else []), rf"\frac{{{_bare(over)}}}{{{_bare(under)}}}"]
        elif token == ".":
            reader.take()
            factors.append(r"\cdot")
        else:
            factors.append(_factor(reader))
    if not factors:
        raise NotationError(f"cannot read {reader.text[reader.at :]!r} in {reader.text!r}")
    return _product(factors)


def _product(factors: list[str]) -> str:
    """Factors with a thin space between them, none after a function's name before a bracket."""
    text = factors[0]
    for before, after in pairwise(factors):
        applied = re.match(r"\\operatorname|\\sum|f|x_\{\\mathrm", before) and after.startswith(r"\left(")
        dotted = r"\cdot" in (before, after)
        text += ("" if applied else " " if dotted else r" \, ") + after
    return text


def _bare(text: str) -> str:
    """A factor without the brackets around all of it: a fraction needs none."""
    inner = text.removeprefix(r"\left(").removesuffix(r"\right)")
    return inner if len(inner) == len(text) - 13 and r"\left(" not in inner else text


def _factor(reader: _Reader) -> str:
    """A name, number or bracket with its subscript and power."""
    token = reader.take()
    if token == "(":
        base = rf"\left({_expression(reader, ')')}\right)"
        _expect(reader, ")")
    elif token[0].isdigit():
        base = token
    elif token[0].isalpha():
        if token == "sqrt":
            return rf"\sqrt{{{_bare(_factor(reader))}}}"
        base = _name(token)
    else:
        raise NotationError(f"cannot read {token!r} in {reader.text!r}")
    return base + "".join(_attached(reader))


def _attached(reader: _Reader) -> Iterator[str]:
    while reader.peek() in ("_", "^") and reader.touches():
        mark = reader.take()
        yield f"{mark}{{{_script(reader)}}}"


def _script(reader: _Reader) -> str:
    """What stands below or above: {...}, (...), or letters and digits; index(i) keeps its bracket."""
    token = reader.take()
    if token in "({":
        end = {"(": ")", "{": "}"}[token]
        text = _expression(reader, end)
        _expect(reader, end)
        return text
    if token == "index":
        return rf"\mathrm{{index}}{_factor(reader)}"
    if not token.isalnum():
        raise NotationError(f"cannot read {token!r} below or above in {reader.text!r}")
    return token


def _name(token: str) -> str:
    primes = "'" * token.count("'")
    word = token.rstrip("'")
    if word == "sum":
        return r"\sum"
    if word in FUNCTIONS:
        return rf"\operatorname{{{word}}}" + primes
    found = NAME.fullmatch(word)
    if not found:
        raise NotationError(f"no symbol of the layers: {word!r}")
    marks = "".join(rf"\mathrm{{{mark}}}" for mark in found["marks"])
    base = found["base"]
    shown = GREEK.get(base) or (base if len(base) == 1 else rf"\mathrm{{{base}}}")
    return marks + ("" if len(base) == 1 or not marks else r"\,") + shown + primes


def _expect(reader: _Reader, token: str) -> None:
    if reader.peek() != token:
        raise NotationError(f"no {token!r} at {reader.text[reader.at :]!r} in {reader.text!r}")
    reader.take()
