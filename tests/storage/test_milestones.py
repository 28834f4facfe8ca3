"""Milestones are read off the table exactly as training counts them."""

import numpy as np
import pytest

from minigrok.config import Config, Task, Train
from minigrok.storage.milestones import Milestones, milestones


def columns(train, test):
    steps = np.arange(100, 100 * len(train) + 1, 100)
    return {"step": steps, "train_accuracy_add": np.array(train), "test_accuracy_add": np.array(test)}


def reached(train, test, **settings):
    config = Config("x", task=Task(operations=("add",)), train=Train(**settings))
    return milestones(config, columns(train, test))["add"]


def test_memorised_needs_more_than_99_percent_once():
    assert reached([0.5, 0.99, 0.991, 0.2], [0.0] * 4).memorised_at == 300


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ([0.98, 0.98, 0.98, 0.98], 300),  # the third in a row, at the threshold
        ([0.99, 0.97, 0.98, 0.98, 0.98], 500),  # a fall starts the count again
        ([0.98, 0.98, 0.0, 0.98, 0.98], None),
        ([0.0, 0.98, 0.98, 0.98, 0.5], 400),  # what happens later changes nothing
    ],
)
def test_grokked_is_the_third_evaluation_in_a_row(test, expected):
    assert reached([1.0] * len(test), test).grokked_at == expected


def test_threshold_and_patience_come_from_the_config():
    assert reached([1.0] * 3, [0.5, 0.6, 0.7], grok_threshold=0.6, grok_patience=1).grokked_at == 200


def test_no_evaluations_no_milestones():
    assert milestones(Config("x"), {}) == {"add": Milestones(None, None), "mul": Milestones(None, None)}
