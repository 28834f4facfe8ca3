"""One number by the names of fields: on a dataclass and on what is read back from its files."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from minigrok.analyses.base import to_files
from minigrok.audit.fields import FUNCTIONS, number


@dataclass
class Part:
    name: str
    values: np.ndarray
    later: int | None = None


@dataclass
class Result:
    steps: np.ndarray
    parts: list[Part]
    table: dict[str, np.ndarray] = field(default_factory=dict)


RESULT = Result(
    np.array([0, 100, 200]),
    [Part("one", np.array([1.0, 2.0])), Part("two", np.array([3.0, 5.0]), 7)],
    {"two words": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])},
)
PATHS = {
    "parts[name=two].values[1]": 5,
    "parts[name!=two].values[0]": 1,
    "parts[name='two'].later": 7,
    "parts[1].values|max": 5,
    "parts[name!=none].values[:,1]|mean": 3.5,
    "table{two words}[:,0]|median": 3,
    "table{two words}[@120][1]": 4,
    "table{two words}[-1]|min": 5,
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_leads_to_its_number_before_and_after_the_disk(path):
    content, arrays = to_files(RESULT)

    def restored(value):
        if isinstance(value, dict):
            return arrays[value["array"]] if "array" in value else {k: restored(v) for k, v in value.items()}
        return [restored(each) for each in value] if isinstance(value, list) else value

    assert number(RESULT, path) == number(restored(content), path) == PATHS[path]


@pytest.mark.parametrize(
    "path",
    ["parts[name=three].values[0]", "parts[9].values[0]", "parts[0].later", "table{none}[0][0]", "parts[0].values"],
)
def test_what_is_not_there_or_not_one_number_is_nan(path):
    assert np.isnan(number(RESULT, path))


def test_functions():
    x = np.array([300.0, 100.0, 200.0])
    assert FUNCTIONS["ascending"](x, 1, 2, 0) == 100
    assert FUNCTIONS["ascending"](x, 0, 1) == -200
    assert FUNCTIONS["ascending"](np.array([np.nan, 100.0]), 1, 0) == np.inf  # never is later
    assert np.isnan(FUNCTIONS["ascending"](np.array([np.nan, np.nan]), 1, 0))
    assert FUNCTIONS["crossing"](np.array([0.1, 0.95, 0.2])) == 2
    assert FUNCTIONS["below"](np.array([0.1, 0.95, 0.2])) == 0.1
    assert np.isnan(FUNCTIONS["crossing"](np.array([0.1])))
    assert np.isnan(FUNCTIONS["below"](np.array([0.95])))
    assert FUNCTIONS["crossing_or_more"](np.array([0.1, 0.2])) == 3  # never: beyond both
    assert FUNCTIONS["crossing_or_more"](np.array([0.1, 0.95])) == 2
    assert FUNCTIONS["parted"](np.array([1.0, 2.0, 5.0, 4.0]), 2) == 2
    assert FUNCTIONS["parted"](np.array([1.0, 4.5, 5.0, 4.0]), 2) < 0
    assert FUNCTIONS["tail"](np.arange(11.0)) == 9 / 5
    assert FUNCTIONS["lead"](np.array([1.0, 5.0, 2.0]), 1) == 3
    assert FUNCTIONS["fold"](np.arange(4.0), 2).tolist() == [1, 2]
    assert FUNCTIONS["best"](np.array([[0.9, 0.2], [0.4, 0.5]])) == 0.4
    assert FUNCTIONS["fall"](np.array([2.0, 8.0, 4.0])) == 2
    assert FUNCTIONS["outside"](np.array(0.75)) == 0.5
