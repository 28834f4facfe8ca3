"""Lines from results: members, parts, bands, points that make a line; and what two quantities make."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from minigrok.paper.entries import Spec, combined, load
from minigrok.paper.lines import Line, Reader, _lines
from minigrok.paper.plan import averaged


@dataclass
class Part:
    name: str
    step: int
    y: np.ndarray


RESULT = SimpleNamespace(
    steps=np.array([0, 10, 20]),
    names=["a", "b"],
    values=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    words=np.array(["one", "two"]),
    parts=[Part("first", 0, np.array([7.0, 8.0])), Part("second", 10, np.array([9.0, 10.0]))],
)


def read(**spec):
    return list(_lines(RESULT, Spec(**spec), ["add", "mul"]))


def test_the_last_axis_makes_a_line_a_name():
    found = read(x="steps", y="values", split="names")
    assert [(label, part) for label, part, *_ in found] == [("", "a"), ("", "b")]
    np.testing.assert_array_equal(found[1][3], [2, 4, 6])
    assert [part for _, part, *_ in read(x="steps", y="values", split="1..2")] == ["s1", "s2"]


def test_members_have_names_and_paths_of_their_own():
    found = read(each="parts", label="name", x="/steps", y="y")
    assert [label for label, *_ in found] == ["first", "second"]
    np.testing.assert_array_equal(found[0][2], RESULT.steps)
    (line,) = read(each="parts", is_line=True, x="step", y="y[0]")
    np.testing.assert_array_equal(line[2], [0, 10])
    np.testing.assert_array_equal(line[3], [7, 9])


def test_a_band_has_no_y_and_words_stay_words():
    (band,) = read(x="steps", low="values[:,0]", high="values[:,1]")
    assert band[3].size == 0
    np.testing.assert_array_equal(band[5], [2, 4, 6])
    (line,) = read(x="words", y="values[0]")
    assert line[2].tolist() == ["one", "two"]


@pytest.mark.parametrize("spec", [{"y": "nothing"}, {"each": "nothing", "y": "y"}, {"y": "parts[name=third].y"}])
def test_what_a_result_lacks_makes_no_line(spec):
    assert read(**spec) == []


def test_a_share_is_of_the_first_quantity():
    a, b = np.array([200.0, np.nan]), np.array([50.0, 1.0])
    np.testing.assert_allclose(combined("difference", a, b), [150, np.nan])
    np.testing.assert_allclose(combined("share", a, b), [75, np.nan])


def test_the_mean_over_seeds_has_the_lowest_and_the_highest_beside_it():
    quantity, member = load().quantities["svd"], SimpleNamespace(condition="dual wd 1")
    x = np.array([1.0, 2.0])
    lines = [Line(member, quantity, "", "add", x, np.array(y)) for y in ([1.0, 5.0], [3.0, 7.0])]
    (mean,) = averaged(lines)
    np.testing.assert_array_equal(mean.y, [2, 6])
    np.testing.assert_array_equal([mean.low, mean.high], [[1, 5], [3, 7]])
    assert Reader(load(), "paper").says() == ""
