"""Comparisons of heads whose relation is known."""

import numpy as np
import pytest
from synthetic_runs import make, rises, walk

from minigrok.analyses import heads
from minigrok.analyses.base import Work
from minigrok.config import preset, with_settings

SHAPE = ["task.p=11", "model.width=32", "model.heads=2", "model.mlp_width=8"]
CONFIG = with_settings(preset("tiny"), SHAPE)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_independent_heads_lie_in_every_band(rng):
    inside = []
    for _ in range(40):
        A, B = rng.standard_normal((2, 23, 32))
        found = heads.compare(A, B, rng.standard_normal((200, 32)), 4, 60, rng)
        _, low, high = found["overlap_random rows"]
        inside.append([low <= found["overlap rows"] <= high, abs(found["cosine"]) < 1.96 / np.sqrt(23 * 32)])
    assert np.mean(inside, axis=0).min() > 0.8


def test_renaming_classes_changes_the_cosine_and_neither_subspace(rng):
    A, Z = rng.standard_normal((23, 32)), rng.standard_normal((200, 32)) @ rng.standard_normal((32, 32))
    same, renamed = (heads.compare(A, B, Z, 4, 40, rng) for B in (A, np.roll(A, 1, axis=0)))
    assert same["cosine"] == pytest.approx(1)
    assert abs(renamed["cosine"]) < 0.2
    for name in heads.NAMES:
        assert same[f"overlap {name}"] == pytest.approx(1)
        assert renamed[f"overlap {name}"] == pytest.approx(1)
    assert same["relabelled"][2] < 0.2  # what a renamed twin would show: nothing


def test_a_row_that_all_classes_share_moves_the_cosine_and_not_the_row_space(rng):
    A, B = rng.standard_normal((2, 23, 32))
    shared = 3 * rng.standard_normal(32)
    alone, found = (heads.compare(A + s, B + s, None, 4, 50, rng) for s in (0, shared))
    assert alone["cosine"] < 0.2 < 0.8 < found["cosine"]
    assert found["relabelled"][0] > 0.8  # the control tells that it is the mean row
    assert heads.row_space(A, 4).blocks[0][0] == pytest.approx(heads.row_space(A + shared, 4).blocks[0][0])


def test_heads_that_read_disjoint_coordinates_share_nothing(rng):
    A, B, Z = np.zeros((23, 32)), np.zeros((23, 32)), rng.standard_normal((4000, 32))
    A[:, :16], B[:, 16:] = rng.standard_normal((2, 23, 16))
    found = heads.compare(A, B, Z, 4, 30, rng)
    assert found["overlap rows"] < 1e-12
    assert found["overlap read z"] < 0.05 < found["overlap_random read z"][0]


def test_same_label_counts_pairs(tmp_path):
    run = make(tmp_path / "a", settings=SHAPE, thetas=walk(CONFIG, [0, 100]))
    (pair,) = heads.compute([run], heads.Settings(draws=5), Work()).pairs
    lowest = int(run.config.task.exclude_zero)
    both = [(a + b - a * b) % 11 == 0 for a in range(lowest, 11) for b in range(lowest, 11)]
    assert pair.same_label == np.mean(both)
    assert pair.cosine.shape == (2,)


def test_a_band_has_its_draws_beside_it_and_few_draws_have_none(tmp_path):
    run = make(tmp_path / "a", settings=SHAPE, thetas=walk(CONFIG, [0, 100]))
    for draws, covers in ((38, None), (60, pytest.approx(1 - 2 / 61))):
        result = heads.compute([run], heads.Settings(draws=draws), Work())
        for row in heads.table(result):
            assert (row["draws"], row["covers"]) == (draws, covers)
            assert (row["rows: random high"] is None) == (row["relabelled low"] is None) == (covers is None)
        labels = heads.figure(result).axes[0].get_legend_handles_labels()[1]
        assert ("relabelled, 95 % of draws" in labels) == (covers is not None)


def test_three_tasks_and_paper_protocol(tmp_path):
    three = [*SHAPE, 'task.operations=["add", "mul", "sq"]']
    config = with_settings(preset("tiny"), three)
    run = make(tmp_path / "a", [rises(5)] * 3, settings=three, thetas=walk(config, [0, 100]))
    result = heads.compute([run], heads.Settings("paper", draws=5), Work())
    assert [f"{p.first} {p.second}" for p in result.pairs] == ["add mul", "add sq", "mul sq"]
    assert "rows: overlap" not in heads.table(result)[0]
    assert len(heads.figure(result).axes) == 3


def test_one_task_says_so(tmp_path):
    one = [*SHAPE, 'task.operations=["add"]']
    run = make(tmp_path / "a", settings=one, thetas=walk(with_settings(preset("tiny"), one), [0]))
    result = heads.compute([run], heads.Settings(), Work())
    assert heads.table(result) == [{"run": "a", "says": heads.NOTHING}]
    assert heads.figure(result).axes[0].texts[0].get_text() == heads.NOTHING
