"""Every setting of every analysis: a value is refused in three parts, or the analysis says something with it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import pytest
from quick import quick
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses import ANALYSES, base
from minigrok.analyses.perform import perform, settings_of
from minigrok.checks import Between, bounds_of
from minigrok.config import preset, with_settings
from minigrok.errors import MinigrokError

CONFIG = with_settings(preset("tiny"), SMALL)
VALUES: tuple[Any, ...] = (
    0,
    1,
    -1,
    10**12,
    float("nan"),
    float("inf"),
    "wrong",
    None,
    True,
    [0],
    [-1],
    [10**12],
    ["x"],
)
EVERY = [(name, item.name) for name, analysis in ANALYSES.items() for item in fields(analysis.settings)]
# what ended in a traceback once, and is computed in every test run; all others are slow
ONCE_BROKEN = [
    *(("gram", "window", value) for value in (0, 1, 2)),
    *(("trajectory_pca", "most", value) for value in (0, 1)),
    *(("weight_spectra", "most", value) for value in (1, 2)),
    ("trajectory_pca", "windows", 0),
    ("trajectory_pca", "draws", 0),
    ("weight_spectra", "draws", 0),
    ("gram", "draws", 0),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    top = tmp_path_factory.mktemp("settings")
    thetas = walk(CONFIG, range(0, 1301, 100), size=0.05)
    return [make(top / name, [rises(13), rises(11)], thetas=thetas) for name in ("a", "b")]


def outcome(call: Callable[[], object]) -> MinigrokError | None:
    """What a call says against it; nothing but a MinigrokError in three parts may be said."""
    try:
        call()
    except MinigrokError as error:
        return error
    return None


def in_three_parts(error: MinigrokError | None) -> bool:
    return error is None or bool(error.required and error.got and error.do)


def accepted(name: str, key: str, value: Any) -> bool:
    """Whether a setting may have the value; if not, the error names the setting."""
    error = outcome(lambda: settings_of(ANALYSES[name], {key: value}))
    assert in_three_parts(error)
    assert error is None or f"{name}.{key}" in error.required
    return error is None


def says(name: str, key: str, value: Any, runs: list[Any]) -> None:
    """Perform an analysis with one setting changed."""
    group = runs if ANALYSES[name].many else runs[:1]
    error = outcome(lambda: perform(ANALYSES[name], group, quick(name, **{key: value})))
    assert in_three_parts(error)


@pytest.mark.parametrize(("name", "key"), EVERY)
def test_a_value_is_taken_or_refused_in_three_parts(name: str, key: str) -> None:
    taken = [value for value in VALUES if accepted(name, key, value)]
    assert "wrong" not in taken
    assert 10**12 not in [value for value in taken if not isinstance(value, bool)]
    assert not any(value != value for value in taken), "nan"


@pytest.mark.parametrize(("name", "key", "value"), ONCE_BROKEN)
def test_what_was_a_traceback_says_something(name: str, key: str, value: Any, runs) -> None:
    says(name, key, value, runs)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key"), EVERY)
def test_an_analysis_says_something_with_every_value_that_is_taken(name: str, key: str, runs) -> None:
    lowest = [bounds.lowest for bounds in bounds_of(ANALYSES[name].settings).get(key, [])]
    for value in [*VALUES, *lowest]:
        if accepted(name, key, value):
            says(name, key, value, runs)


def unbounded(settings: type) -> list[str]:
    """Names of the numbers of a class of settings that have no bounds."""
    numbers = {name for name, kind in get_type_hints(settings).items() if kind in (int, float)}
    lists = {name for name, kind in get_type_hints(settings).items() if kind in (tuple[int, ...], tuple[float, ...])}
    return sorted((numbers | lists) - bounds_of(settings).keys())


@pytest.mark.parametrize("name", ANALYSES)
def test_every_number_has_bounds(name: str) -> None:
    settings = ANALYSES[name].settings
    assert issubclass(settings, base.Settings)
    assert settings.name == name
    assert unbounded(settings) == []


def test_a_number_without_bounds_is_seen() -> None:
    @dataclass(frozen=True)
    class Broken(base.Settings):
        name = "broken"
        draws: base.Draws = 3
        window: int = 10
        shares: tuple[float, ...] = ()

    globals()["Broken"] = Broken  # where its annotations are looked up
    assert unbounded(Broken) == ["shares", "window"]
    assert bounds_of(Broken) == {"draws": [Between(1, 100_000)]}
