"""minigrok as a contender does what `minigrok train` and Objective do, and keeps nothing from call to call."""

import numpy as np
import pytest
from equal import SMALL

from minigrok.config import Config, Model, Task
from minigrok.network.objective import Objective
from minigrok.peers import own
from minigrok.peers.problem import Problem, Work
from minigrok.training.trainer import Trainer


def test_a_step_is_the_trainers() -> None:
    problem = Problem(SMALL, Work("step"))
    peer, trainer = own.open_peer("minigrok", problem), Trainer(SMALL, 1, problem.points[0])
    assert [peer.run() for _ in range(3)] == [float(trainer.step().sum()) for _ in range(3)]
    found = own.open_peer("minigrok", problem).outcome()
    assert found["losses"][0] == found["loss"]
    assert np.linalg.norm(found["update"]) > 0


def test_hvp_is_the_objectives_at_a_new_point_in_each_call() -> None:
    problem = Problem(SMALL, Work("hvp", "float64"))
    peer = own.open_peer("minigrok", problem)
    objective = Objective(SMALL, problem.tokens, problem.targets, dtype="float64", threads=1)
    expected = [objective.hvp(theta, problem.directions[:, 0]) for theta in problem.points]
    np.testing.assert_array_equal(peer.outcome()["hvp"][:, 0], expected[0])
    first, second, third = (peer.run().copy() for _ in range(3))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, third)
    assert any(np.array_equal(first, product) for product in expected)


def test_an_evaluation_counts_right_answers() -> None:
    scores = own.open_peer("minigrok", Problem(SMALL, Work("eval", "float64", "all"))).outcome()
    assert scores["loss"].shape == scores["accuracy"].shape == (2,)
    assert ((scores["accuracy"] * 16) % 1 == 0).all()


@pytest.mark.parametrize("blocks", [1, 2])
def test_operations_of_a_step_counted_by_hand(blocks: int) -> None:
    """A step without the savings needs 3 products (forward, dx, dW) a weight; the savings leave some fraction of it."""
    model = Model(width=8, heads=2, mlp_width=12, blocks=blocks)
    config = Config("counted", task=Task(p=5), model=model, train=SMALL.train, compute=SMALL.compute)
    flop = own.open_peer("minigrok", Problem(config, Work("step"))).flop()
    B, T, D, F, V = 8, 2, 8, 12, 5
    dense = 3 * 2 * B * (T * blocks * (4 * D * D + 2 * D * F) + 2 * D * V)
    assert 0.4 * dense < flop < 1.1 * dense
