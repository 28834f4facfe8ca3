"""Slingshots of losses with a known number of jumps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.statistics.slingshots import slingshots


def count(loss, begin=0, **settings):
    return slingshots(np.arange(len(loss)) * 100, np.array(loss, float), begin, **settings).tolist()


def test_a_jump_counts_once_whatever_its_top_looks_like():
    assert count([1, 0.01, 0.2, 0.05, 0.3, 0.06, 0.01]) == [200]


def test_the_next_jump_needs_a_fall_by_the_factor():
    assert count([0.01, 0.2, 0.03, 0.2, 0.02, 0.3]) == [100, 500]


def test_noise_below_the_factor_and_a_slow_fall_are_none():
    assert count(np.exp(np.random.default_rng(0).uniform(-1, 1, 200))) == []
    assert count(np.geomspace(1, 1e-9, 50)) == []


def test_before_memorisation_nothing_counts():
    loss = [0.001, 5, 0.01, 0.02, 0.5]
    assert count(loss) == [100, 400]
    assert count(loss, begin=200) == [400]
    assert count(loss, begin=10_000) == []


def test_an_underflow_to_zero_is_a_floor_and_no_number_is_no_value():
    assert count([0.1, 0.0, 0.0, 1e-3]) == [300]
    assert count([0.01, np.nan, 0.5]) == [200]


@pytest.mark.parametrize("cycles", [0, 1, 7])
def test_sawtooth_has_a_cycle_a_tooth(cycles):
    tooth = np.geomspace(1, 1e-4, 30)
    assert len(count(np.tile(tooth, cycles + 1))) == cycles


@given(st.lists(st.floats(1e-12, 1e3), max_size=40), st.floats(1e-3, 1e3), st.integers(1, 3))
def test_unit_of_the_loss_and_repeated_rows_change_nothing(loss, unit, times):
    steps = np.arange(len(loss))
    loss = np.array(loss)
    found = slingshots(steps, loss, 0)
    powers = 2.0 ** np.round(np.log2(unit))  # exact
    assert slingshots(steps, powers * loss, 0).tolist() == found.tolist()
    assert slingshots(np.repeat(steps, times), np.repeat(loss, times), 0).tolist() == found.tolist()
    assert len(slingshots(steps, loss, 0, factor=30)) <= len(found)
