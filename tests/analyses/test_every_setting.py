"""Every setting of every analysis: what it may be is declared, all else is refused by name, what is let through ends.

An end is a result, or an error in three parts; never another exception, and never a wait.
"""

import math
import signal
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest
from quick import quick
from synthetic_runs import SMALL

from minigrok.analyses import ANALYSES, base, grok_order
from minigrok.analyses.perform import perform
from minigrok.checks import Between
from minigrok.config import preset, with_settings
from minigrok.errors import MinigrokError
from minigrok.storage.runs import create
from minigrok.training.train import train

SECONDS = 120  # a computation takes a second or two alone on a machine
FIELDS = [(name, field.name) for name, analysis in ANALYSES.items() for field in fields(analysis.settings)]
NEVER = (10**12, -(10**12), math.nan, math.inf, -math.inf, None, {}, b"1", "nonsense", 1j)
NUMBERS = (0, 1, -1, 0.5)
MAYBE = (*NUMBERS, True, False, "exact", "paper", ())


def alone_and_in_a_list(values):
    """Return the values, and each as the only item of a list."""
    return [*values, *((value,) for value in values)]


def tried(call):
    """Return what a call gives, and the three parts of its error if there is one, of ours."""
    try:
        return call(), None
    except MinigrokError as error:
        return None, (error.required, error.got, error.do)


def made(settings, field, value):
    """Return settings with this value, or None if they are refused as they should be: by the name of the field."""
    found, said = tried(lambda: settings(**{field: value}))
    assert said is None or (field in said[0] and all(said)), said
    return found


def is_of(annotation, value):
    """Whether a value is of the annotated type, and of that very type."""
    if get_origin(annotation) is tuple:
        return type(value) is tuple and all(is_of(get_args(annotation)[0], item) for item in value)
    return value in get_args(annotation) if get_origin(annotation) is Literal else type(value) is annotation


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_setting_is_of_its_type_and_within_bounds_or_refused(name, field):
    settings = ANALYSES[name].settings
    for value in alone_and_in_a_list(NEVER):
        assert made(settings, field, value) is None, value
    for value in alone_and_in_a_list(MAYBE):
        found = made(settings, field, value)
        assert found is None or is_of(get_type_hints(settings)[field], getattr(found, field)), value


def unbounded(settings):
    """Return the names of the fields that are numbers, or lists of numbers, without bounds."""
    return [name for name, each in get_type_hints(settings, include_extras=True).items() if not is_bounded(each)]


def is_bounded(annotation):
    if get_origin(annotation) is Annotated:
        return any(isinstance(each, Between) for each in annotation.__metadata__) or is_bounded(annotation.__origin__)
    if get_origin(annotation) is tuple:
        return is_bounded(get_args(annotation)[0])
    return annotation not in (int, float)


@pytest.mark.parametrize("name", ANALYSES)
def test_every_number_has_bounds_and_every_analysis_its_name(name):
    settings = ANALYSES[name].settings
    assert issubclass(settings, base.Settings)
    assert settings.name == name
    assert unbounded(settings) == []


def test_a_number_without_bounds_is_found():
    @dataclass(frozen=True)
    class Broken(base.Settings):
        name = "broken"
        count: int = 1
        size: Annotated[float, "in metres"] = 1.0
        ranks: tuple[int, ...] = ()
        draws: base.Draws = 1
        shares: tuple[Annotated[float, Between(0, 1)], ...] = (0.5,)
        fresh: bool = False

    assert unbounded(Broken) == ["count", "size", "ranks"]


@contextmanager
def within(seconds):
    """Raise a TimeoutError in what takes longer."""

    def late(*_):
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ends(analysis, runs, settings, seconds=SECONDS):
    """Perform an analysis: it must give a result, or an error in three parts, in time."""
    with within(seconds):
        found, said = tried(lambda: perform(analysis, runs if analysis.many else runs[:1], settings))
    assert found.rows if said is None else all(said), said


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three trained runs: two seeds, and one without weight decay."""
    few = [*SMALL, "train.max_steps=300", "train.snapshot_every=30", "train.eval_every=20"]
    found = []
    for changes in (["seed=1"], ["seed=2"], ["optimiser.weight_decay=0"]):
        name = changes[0].replace("=", "")
        with create(tmp_path_factory.mktemp("runs") / name, with_settings(preset("tiny"), [*few, *changes])) as run:
            train(run)
        found.append(run)
    return found


def lowest(name, field):
    """Return the lowest value of a field that is a number, in a list."""
    annotation = get_type_hints(ANALYSES[name].settings, include_extras=True)[field]
    return [each.lowest for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Between)]


def accepted():
    """Every analysis, field and value that the settings let through."""
    for name, field in FIELDS:
        sent = [*alone_and_in_a_list(NUMBERS), *lowest(name, field), True, False, "paper"]
        for value in {repr(each): each for each in sent}.values():  # 1 and True are two
            try:
                changed = quick(name, **{field: value})
            except Exception:  # told apart by the test of the settings alone
                continue
            yield name, field, value, changed


DEFAULT = ("trajectory_pca", "gram")  # the others draw too many pictures for the default run
CASES = [
    pytest.param(name, changed, id=f"{name}-{field}-{value}", marks=() if name in DEFAULT else pytest.mark.slow)
    for name, field, value, changed in accepted()
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_what_the_settings_let_through_ends(runs, name, settings):
    ends(ANALYSES[name], runs, settings)


def test_an_analysis_that_fails_or_never_ends_is_found(runs):
    def fails(*_):
        raise IndexError

    def waits(*_):
        while True:
            pass

    for compute, error in ((fails, IndexError), (waits, TimeoutError)):
        with pytest.raises(error):
            ends(replace(grok_order.ANALYSIS, compute=compute), runs, grok_order.Settings(), 0.5)
