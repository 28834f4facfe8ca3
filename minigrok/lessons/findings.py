"""What a check finds in an answer, and the words for what is wrong with a number or an array."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minigrok.display import brief
from minigrok.engine import Array

Names = Mapping[str, Any]  # of the answer's file


class Finding(NamedTuple):
    """What one law says about an answer.

    Attributes
    ----------
    law : str       what must hold
    holds : bool
    got : str       the number that was measured
    hint : str      "" if it holds; else what this usually means
    """

    law: str
    holds: bool
    got: str
    hint: str = ""


class FaultError(Exception):
    """An answer that cannot be checked: it raises, or returns what is no answer. Three parts, as in MinigrokError."""


def call(names: Names, name: str, *arguments: Any) -> Any:
    """Return what the answer's function of a name returns.

    Raises
    ------
    FaultError    there is no such function, it raises, or it returns None
    """
    function = take(names, name)
    if not callable(function):
        raise FaultError(f"a function {name}", f"{name} = {brief(function)}", f"begin it with `def {name}(...):`")
    try:
        value = function(*arguments)
    except Exception as error:
        raise FaultError(f"{name} returns", *told(error)) from error
    if value is None:
        raise FaultError(f"a result of {name}", "None", "write its body, and end it with return")
    return value


def take(names: Names, name: str) -> Any:
    """Return what the answer's file calls so."""
    if name not in names:
        raise FaultError(f"{name} in the file", "no such name", "`minigrok learn N --start FILE` writes the file anew")
    return names[name]


def told(error: BaseException) -> tuple[str, str]:
    """Return what was raised and where, and what to do."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith("<answer>")]
    line = frames[-1].lineno if frames else getattr(error, "lineno", None)
    where = f" in line {line}" if line else ""
    if isinstance(error, ImportError):
        return f"{error}{where}", "NumPy is enough for every exercise: leave that import out, or install the package"
    if isinstance(error, OSError) and error.errno == 27:  # EFBIG: see child.py
        return f"more than a megabyte of printed text{where}", "print less"
    return f"{type(error).__name__}: {error}{where}", "mend that line"


def array(name: str, value: Any, shape: tuple[int, ...], why: str = "") -> Array:
    """Return a value as a float64 array of a shape.

    Raises
    ------
    FaultError    it is none: `why` says what the wrong shape usually means
    """
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise FaultError(f"{name} an array of numbers", brief(value), "return a NumPy array") from None
    if found.shape != shape:
        raise FaultError(f"{name} of shape {shape}", f"shape {found.shape}", why or "look at what is summed")
    if not np.isfinite(found).all():
        bad = "NaN" if np.isnan(found).any() else "infinite"
        raise FaultError(
            f"{name} of finite numbers", f"{bad} entries", "look for 0 / 0, a root or a logarithm of 0 or less"
        )
    return found


def number(name: str, value: Any) -> float:
    """Return a value as a finite float; a FaultError if it is none."""
    return float(array(name, value, (), "return one number"))


def several(name: str, value: Any, count: int) -> tuple[Any, ...]:
    """Return a tuple of so many parts; a FaultError if it is none."""
    if not isinstance(value, tuple | list) or len(value) != count:
        got = f"{len(value)} parts" if isinstance(value, tuple | list) else type(value).__name__
        raise FaultError(f"{count} results of {name}", got, "return them with a comma between")
    return tuple(value)


def factor(got: Array, wanted: Array) -> float | None:
    """Return c where got = c wanted to ten digits; None if there is no such number."""
    size = float(np.linalg.norm(got) * np.linalg.norm(wanted))
    if size == 0:
        return None
    c = float(np.vdot(wanted, got) / np.vdot(wanted, wanted))
    return c if np.linalg.norm(got - c * wanted) <= 1e-10 * np.linalg.norm(got) else None


def usual(got: Array, wanted: Array, meanings: Mapping[float, str], otherwise: Callable[[], str]) -> str:
    """Return what a wrong array means, by the factor it has too much: known ones have a meaning."""
    c = factor(got, wanted)
    if c is None:
        return otherwise() if np.any(got) else "all of it is 0"
    for known, meaning in meanings.items():
        if abs(c - known) <= 1e-9 * abs(known):
            return meaning
    return f"it is {c:.4g} times what it must be: a factor is missing, or is one too many"
