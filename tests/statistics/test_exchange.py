"""Exchanges keep to the seed, and their p to what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.statistics.exchange import exchanged, least_p, p_value

RNG = np.random.default_rng(0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=20), st.integers(0, 100))
def test_runs_are_exchanged_within_a_seed_and_seeds_as_wholes(runs, key):
    """Each seed's labels are those of one seed of as many runs, and every such set is used once."""
    seeds, labels = (np.array(each) for each in zip(*runs, strict=True))
    sets = lambda drawn: sorted(tuple(sorted(drawn[seeds == seed])) for seed in np.unique(seeds))  # noqa: E731
    for drawn in exchanged(labels, seeds, np.random.default_rng(key), 5):
        assert sets(drawn) == sets(labels)


def test_with_one_run_a_seed_every_order_is_drawn_alike():
    drawn = exchanged(np.array([0, 1, 2]), np.array([7, 8, 9]), RNG, 6000)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 6
    assert counts == pytest.approx(1000, abs=150)


def test_with_every_condition_in_every_seed_it_is_the_paired_test():
    drawn = exchanged(np.tile([0, 1], 3), np.repeat([1, 2, 3], 2), RNG, 500)
    assert (drawn.reshape(-1, 3, 2).sum(axis=2) == 1).all()
    assert len(np.unique(drawn, axis=0)) == 2**3


def test_repeats_of_two_seeds_are_two_seeds():
    drawn = exchanged(np.repeat([0, 1], 5), np.repeat([1, 2], 5), RNG, 500)
    assert len(np.unique(drawn, axis=0)) == 2


def test_p_counts_the_measured_case_and_ties():
    assert p_value(3.0, np.array([1.0, 2.0, 3.0, 4.0])) == 3 / 5
    assert p_value(0.1 + 0.2, np.array([0.3])) == 1  # equal but for rounding
    assert p_value(9.0, np.arange(9.0)) == 1 / 10
    assert least_p(3.0, np.array([1.0, 4.0, 4.0])) == 3 / 4


def test_what_does_not_exist_has_no_p_and_counts_as_farther():
    assert np.isnan(p_value(float("nan"), np.arange(3.0)))
    assert np.isnan(p_value(float("inf"), np.arange(3.0)))
    assert np.isnan(p_value(1.0, np.zeros(0)))
    assert p_value(1.0, np.array([np.nan, 0.0, 0.0])) == 2 / 4
