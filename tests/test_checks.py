"""Bounds in annotations: what they let through, what they refuse, and in which words."""

import dataclasses
import math
from typing import Annotated

import pytest

from minigrok.analyses import base
from minigrok.checks import Between, check_bounds
from minigrok.errors import ConfigError

Few = Annotated[int, Between(1, 9)]


@dataclasses.dataclass(frozen=True)
class Bounded:
    count: Few = 1
    share: Annotated[float, Between(0, 1)] = 0.5
    ranks: tuple[Few, ...] = (1,)
    pairs: tuple[tuple[Few, ...], ...] = ((1, 2), (3,))
    free: int = -5
    word: str = "anything"


@dataclasses.dataclass(frozen=True)
class Settings(base.Settings):
    name = "toy"
    count: Few = 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"count": 9},
        {"share": 0.0},
        {"share": 1.0},
        {"ranks": (1, 9, 1)},
        {"pairs": ((9,), (1, 9))},
        {"free": -(10**12)},
        {"count": True},  # a whole number to Python: the types refuse it, not the bounds
    ],
)
def test_what_lies_between_passes_with_both_bounds(changes):
    check_bounds(Bounded(**changes), "toy")


@pytest.mark.parametrize(
    ("field", "value", "got"),
    [
        ("count", 0, "0"),
        ("count", 10, "10"),
        ("count", 10**12, "1000000000000"),
        ("count", False, "False"),
        ("share", -0.1, "-0.1"),
        ("share", math.nan, "nan"),
        ("share", math.inf, "inf"),
        ("ranks", (1, 2, 10), "10"),
        ("ranks", (), "none"),
        ("pairs", ((1, 2), (3, 0)), "0"),
        ("pairs", ((),), "none"),
    ],
)
def test_what_does_not_is_refused_by_the_name_of_its_field(field, value, got):
    with pytest.raises(ConfigError) as error:
        check_bounds(Bounded(**{field: value}), "toy")
    assert error.value.required.startswith(f"toy.{field} ")
    assert (error.value.got, error.value.do) == (got, f"change toy.{field}")


@pytest.mark.parametrize("value", [True, False, math.nan, 1.5, "1", None, (1,), [1]])
def test_settings_refuse_the_wrong_type_before_they_look_at_bounds(value):
    with pytest.raises(ConfigError, match=r"toy\.count is a whole number"):
        Settings(count=value)
