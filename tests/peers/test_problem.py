"""Every process gets equal numbers; the faster of several ways is taken."""

import time

import numpy as np
import pytest
from equal import SMALL

from minigrok.network.params import initial, layout
from minigrok.peers.problem import Problem, Work, fastest, key_biases


def test_equal_problems_have_equal_numbers_and_two_different_points() -> None:
    a, b = (Problem(SMALL, Work("hvp", "float64", directions=3)) for _ in range(2))
    assert np.array_equal(a.points, b.points)
    assert np.array_equal(a.directions, b.directions)
    assert a.points.shape == (2, layout(SMALL).size)
    assert a.directions.shape == (layout(SMALL).size, 3)
    assert not np.array_equal(a.points[0], a.points[1])
    assert np.abs(a.points - initial(SMALL)).max() < 0.2
    assert Problem(SMALL, Work("hvp")).points.dtype == np.float32


@pytest.mark.parametrize(("pairs", "size"), [("batch", 8), ("train", 8), ("all", 16)])
def test_pairs_of_a_work(pairs: str, size: int) -> None:
    problem = Problem(SMALL, Work("eval", pairs=pairs))
    assert problem.tokens.shape == (size, 2)
    assert problem.targets.shape == (2, size)
    assert np.array_equal(problem.targets[0], problem.tokens.sum(1) % 5)


def test_a_batch_is_the_first_of_the_stream() -> None:
    problem = Problem(SMALL, Work("step"))
    expected = problem.table.tokens[problem.table.train[problem.stream().next()]]
    assert np.array_equal(problem.tokens, expected)


def test_key_biases_are_a_third_of_each_projection_bias() -> None:
    assert key_biases(SMALL).sum() == SMALL.model.blocks * SMALL.model.width


def test_the_fastest_way_is_taken_and_its_first_call_does_not_count() -> None:
    calls = {"slow": 0, "compiles first": 0}

    def slow() -> None:
        calls["slow"] += 1
        time.sleep(0.01)

    def compiles() -> None:
        time.sleep(0 if calls["compiles first"] else 0.05)
        calls["compiles first"] += 1

    ways = {"slow": slow, "compiles first": compiles}
    assert fastest(ways, choose=True) == "compiles first"
    assert min(calls.values()) > 1
    before = dict(calls)
    assert fastest(ways, choose=False) == "slow"
    assert calls == before
