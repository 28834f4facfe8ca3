"""Checks of settings: types, ranges and names, every failure a ConfigError in three parts."""

import dataclasses
import difflib
import math
import numbers
import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin, get_type_hints

from minigrok.display import brief
from minigrok.errors import ConfigError

LONGEST = 120  # characters of a name: files add an ending, and file systems take 255 bytes: our choice
MANY = 20  # options beyond which a near match is named alone: our choice


def require(holds: bool, key: str, rule: str, got: object) -> None:
    """Raise a ConfigError "key <rule>" unless it holds."""
    if not holds:
        raise ConfigError(f"{key} {rule}", brief(got, str), f"change {key}")


def require_name(key: str, name: str) -> None:
    """Raise a ConfigError unless the name is a plain one, which cannot lead out of a folder."""
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) is not None
    require(plain, key, 'letters, digits, ".", "_" or "-"', repr(name))
    require(len(name) <= LONGEST, key, f"at most {LONGEST} characters long", f"{len(name):,} characters")


def check_types(section: Any, prefix: str) -> None:
    """Check every field of a frozen dataclass against its annotation, and store the value in that very type.

    An int becomes the float that was asked for, a list a tuple, a NumPy scalar a Python one: equal settings
    have equal text and so equal hashes.

    Parameters
    ----------
    section : dataclass instance    changed in place, once, by its own __post_init__
    prefix : str                    name of the section in messages, "" at the top

    Raises
    ------
    ConfigError    a value is not of the annotated type
    """
    types = get_type_hints(type(section))
    for item in dataclasses.fields(section):
        key = f"{prefix}.{item.name}" if prefix else item.name
        object.__setattr__(section, item.name, _typed(key, types[item.name], getattr(section, item.name)))


def between(lowest: int, highest: int, section: Any, prefix: str, *names: str) -> None:
    """Raise a ConfigError unless every named field is from `lowest` to `highest`."""
    for name in names:
        value = getattr(section, name)
        require(value >= lowest, f"{prefix}.{name}", f"at least {lowest}", value)
        require(value <= highest, f"{prefix}.{name}", f"at most {highest:,}", value)


@dataclasses.dataclass(frozen=True)
class Between:
    """Bounds of a setting, both included, in its annotation: `draws: Annotated[int, Between(1, 100_000)]`.

    With `or_zero` it may be 0 as well, which stands for a default that depends on something else.
    """

    lowest: float
    highest: float
    or_zero: bool = False


def check_bounds(section: Any, prefix: str) -> None:
    """Check every field of a dataclass against the `Between` in its annotation; a tuple, which must hold one, by item.

    Raises
    ------
    ConfigError    a value is out of its bounds, or not a number; a tuple is empty
    """
    for name, annotation in get_type_hints(type(section), include_extras=True).items():
        for bounds in _bounds(annotation):
            values = _items(getattr(section, name))
            require(bool(values), f"{prefix}.{name}", "of one number at least", "none")
            for each in values:
                rule = f"{'0 or ' * bounds.or_zero}between {bounds.lowest:,} and {bounds.highest:,}"
                is_inside = bounds.lowest <= each <= bounds.highest or (bounds.or_zero and each == 0)
                require(is_inside, f"{prefix}.{name}", rule, each)


def _items(value: Any) -> list[Any]:
    """Return the items of a tuple, of tuples within it too; the value itself otherwise."""
    return [x for item in value for x in _items(item)] if isinstance(value, tuple) else [value]


def _bounds(annotation: Any) -> list[Between]:
    """Return the `Between` of an annotation, or of the items of a tuple."""
    inner = get_args(annotation)[:1] if get_origin(annotation) is tuple else ()
    return [x for x in getattr(annotation, "__metadata__", ()) if isinstance(x, Between)] + [
        bounds for item in inner for bounds in _bounds(item)
    ]


def nearest(word: str, options: Iterable[str]) -> str:
    """Say which of the options was probably meant, and list them all unless they are many."""
    options = list(options)
    close = difflib.get_close_matches(word[:LONGEST], options, n=1)
    choices = f"choose one of {', '.join(options)}"
    return choices if not close else f"did you mean {close[0]}?" + f" Or {choices}" * (len(options) <= MANY)


def is_prime(n: int) -> bool:
    """Tell whether n is a prime, by trial division: for n of some millions, whose root is small."""
    return n >= 2 and all(n % divisor for divisor in range(2, math.isqrt(n) + 1))


def _typed(key: str, annotation: Any, value: Any) -> Any:
    """Return the value in the annotated type, or raise a ConfigError."""
    if get_origin(annotation) is tuple:
        item, example = get_args(annotation)[0], _LISTS[get_args(annotation)[0]]
        if not isinstance(value, list | tuple):
            raise _wrong_type(key, example, value)
        try:
            return tuple(_typed(key, item, each) for each in value)
        except ConfigError:
            raise _wrong_type(key, example, value) from None
    if get_args(annotation):  # Literal
        if isinstance(value, str) and value in get_args(annotation):
            return value
        raise _wrong_type(key, "one of " + ", ".join(get_args(annotation)), value)
    if annotation is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:  # an integer of more than 308 digits
            raise _wrong_type(key, "a number below 1e308", value) from None
    if annotation is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if annotation in (int, float) or not isinstance(value, annotation):
        raise _wrong_type(key, _WORDS.get(annotation, f"a minigrok.config.{annotation.__name__}"), value)
    return value


_WORDS = {bool: "true or false", int: "a whole number", float: "a number such as 0.5", str: "a string"}
_LISTS = {
    str: 'a list of strings such as ["add", "mul"]',
    int: "a list of whole numbers such as [1, 2]",
    float: "a list of numbers such as [0.5, 1]",
}


def _wrong_type(key: str, wanted: str, value: Any) -> ConfigError:
    return ConfigError(f"{key} is {wanted}", f"{brief(value)} ({type(value).__name__})", f"write {wanted}")
