"""Laws of the symmetries, by brute force on every matrix and every pair."""

from itertools import combinations, product

import numpy as np
import pytest

from minigrok.config import Task
from minigrok.config.operations import OPERATIONS
from minigrok.config.symmetries import GENERATORS, IDENTITY, Map, group
from minigrok.errors import ConfigError
from minigrok.tasks import pairs

MATRICES = [Map(*each) for each in product((-1, 0, 1), repeat=4) if each[0] * each[3] != each[1] * each[2]]
ORDERS = {"add": 2, "mul": 4, "sq": 8, "sub": 2, "x2_xy_y2": 12, "x3_xy": 1, "div": 2}


def keeps(each: Map, name: str, p: int) -> bool:
    """Whether a map keeps the answer of every pair that it takes to a pair."""
    table = pairs(Task(p=p, operations=(name,), train_fraction=0.5), 0)
    image = np.array([[r * a + s * b for r, s in (each[:2], each[2:])] for a, b in table.tokens.tolist()]) % p
    there = image.all(axis=1)
    assert there.any()
    return np.array_equal(OPERATIONS[name](*image[there].T, p), table.targets[0, there])


@pytest.mark.parametrize("name", OPERATIONS)
def test_they_are_all_the_matrices_that_keep_the_answer(name: str) -> None:
    assert set(group([name])) == {each for each in MATRICES if keeps(each, name, 11)}
    assert all(keeps(each, name, p) for each in group([name]) for p in (5, 7, 97))
    assert len(group([name])) == ORDERS[name]


def test_a_matrix_that_changes_answers_is_found() -> None:
    assert not keeps(Map(-1, 0, 0, -1), "add", 11)
    assert not keeps(Map(-1, 0, 0, 1), "mul", 11)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_axioms_of_a_group(count: int) -> None:
    for names in combinations(GENERATORS, count):
        if {"sq", "x2_xy_y2"} <= {*names}:
            continue
        found = group(names)
        assert found[0] == IDENTITY
        assert len(set(found)) == len(found)
        assert all(a.after(b) in found for a in found for b in found)
        assert all(any(a.after(b) == IDENTITY for b in found) for a in found)
        assert all(set(group([name])) <= set(found) for name in names)


def test_after_is_the_product_of_matrices() -> None:
    for a, b in product(MATRICES[::5], MATRICES[::7]):
        expected = np.reshape(a, (2, 2)) @ np.reshape(b, (2, 2))
        assert np.array_equal(np.reshape(a.after(b), (2, 2)), expected)


def test_two_groups_that_are_infinite_together() -> None:
    with pytest.raises(ConfigError, match=r"finite group.*got: sq, x2_xy_y2.*do: set task\.split"):
        group(["sq", "x2_xy_y2"])
    with pytest.raises(ConfigError, match="finite group"):
        Task(operations=("sq", "x2_xy_y2"), split="orbits")
    Task(operations=("sq", "x2_xy_y2"))  # apart from that split they may stand together
