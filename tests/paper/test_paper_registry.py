"""The registry has every figure and table of the third version, and each is made of what exists."""

import re

import pytest

from minigrok.analyses import ANALYSES
from minigrok.config import read_toml
from minigrok.config.arms import ARMS
from minigrok.errors import ConfigError
from minigrok.paper import evaluations
from minigrok.paper.entries import _entry, _file, _quantity, load
from minigrok.paper.figure import SHAPES
from minigrok.paper.make import listed

REGISTRY = load()
DEFECT = {"analysis": "commutator", "label": "D", "paper": {"x": "steps", "y": "values{float32}|middle"}}


def numbers(kind):
    return [entry.number for entry in REGISTRY.entries if entry.kind == kind]


@pytest.mark.parametrize(("kind", "last"), [("figure", 34), ("table", 17)])
def test_every_number_of_the_third_version_is_there(kind, last):
    assert {int(found[0]) for each in numbers(kind) if (found := re.findall(r"^\d+", each))} == set(range(1, last + 1))
    assert len(set(numbers(kind))) == len(numbers(kind))


def test_the_pictures_of_compress_are_among_them():
    for name in ("figCOMP", "figSNAP", "figABL_B", "figABL2", "figABL3", "figABL4", "figTHR"):
        assert REGISTRY.entry("figure", name).picture.startswith(name)


def test_every_condition_is_of_known_tasks_and_arms():
    for entry in REGISTRY.entries:
        for name in (*entry.runs, *entry.beside):
            found = re.fullmatch(r"(dual|tri|add|mul|sub|sq) wd [\d.]+(, (\w+) [\d.]+ %)?", name)
            assert found, name
            assert found[3] is None or found[3] in ARMS


def test_every_quantity_names_an_analysis_and_is_drawn():
    used = {name for entry in REGISTRY.entries for name in (*entry.quantities, *entry.marks, *entry.colours)}
    used |= {name for each in REGISTRY.quantities.values() for name in (*(each.of or ()), each.x_over)}
    assert set(REGISTRY.quantities) <= used
    for quantity in REGISTRY.quantities.values():
        assert quantity.of or quantity.analysis in {*ANALYSES, evaluations.NAME}
    assert {entry.draw for entry in REGISTRY.entries if entry.kind == "figure"} == set(SHAPES)


def test_printed_numbers_are_of_rows_and_columns_that_a_table_has():
    for entry in (each for each in REGISTRY.entries if each.kind == "table"):
        for row, cells in REGISTRY.printed[entry.number].items():
            condition = re.sub(r", (seed|k) \d+$", "", row)
            assert condition in entry.runs
            own = set(entry.columns) | ({"mean", "delay %"} if entry.cells == "delay" else set())
            assert set(cells) == own


def test_the_list_has_a_line_for_each():
    rows = listed()
    assert len(rows) == len(REGISTRY.entries)
    assert all(row["shows"] and row["needs"] and row["made of"] for row in rows)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"analysis": "comutator"}, "commutator"),
        ({"paper": {"y": "value{float32}"}}, "no value in Result"),
        ({"paper": {"y": "values{float32}|midle"}}, "middle"),
        ({"paper": {"z": "steps"}}, "'z'"),
        ({"paper": {"y": "steps", "nulls": [{"low": "nothing"}]}}, "no nothing in Result"),
    ],
)
def test_a_quantity_of_what_does_not_exist_is_refused(change, word):
    _quantity("D", DEFECT)
    with pytest.raises(ConfigError, match=re.escape(word)):
        _quantity("D", DEFECT | change)


@pytest.mark.parametrize(
    "change", [{"shows": [["defekt"]]}, {"draw": "pie"}, {"marks": ["nothing"]}, {"colour": "red"}]
)
def test_an_entry_of_what_does_not_exist_is_refused(change):
    table = read_toml(_file("registry.toml"), "the registry")
    with pytest.raises(ConfigError):
        _entry("figure", table["figure"][0] | change, table["sets"], REGISTRY.quantities)


@pytest.mark.parametrize(
    ("name", "word"), [("16", "16a, 16b"), ("35", "minigrok figures"), ("fig", "minigrok figures")]
)
def test_what_is_no_number_is_an_error_that_says_what_there_is(name, word):
    with pytest.raises(ConfigError, match=word):
        REGISTRY.entry("figure", name)
