"""Detectors on traces whose onset is known by construction."""

import numpy as np
import pytest

from minigrok.statistics import detectors
from minigrok.statistics.detectors import DETECTORS, Onset

N = 40
STEPS = 100 * np.arange(N)
QUIET = np.ones(N)


def trace(*places, height=1000.0):
    D = QUIET.copy()
    D[list(places)] = height
    return D


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("D", [np.zeros(N), QUIET, 1e6 * QUIET, np.linspace(2, 1, N)])
def test_nothing_fires_on_a_trace_that_does_not_rise(name, D):
    assert DETECTORS[name](STEPS, D).step is None


@pytest.mark.parametrize(
    ("name", "step", "known_at"),
    # a jump at index 20: v1 needs two more values, v2 fires two values before it happens
    [("v1", 2000, 2200), ("v2", 1800, 2000), ("v2 past only", 2000, 2000), ("spike", 2000, 2000)],
)
def test_a_jump_at_a_known_place(name, step, known_at):
    onset = DETECTORS[name](STEPS, trace(*range(20, N)))
    assert (onset.step, onset.known_at) == (step, known_at)


@pytest.mark.parametrize(
    ("name", "step"),
    [("v1", None), ("v2", 2300), ("v2 past only", 2500), ("spike", 2500)],  # only v1 asks for three in a row
)
def test_one_spike(name, step):
    assert DETECTORS[name](STEPS, trace(25)).step == step


def test_v1_takes_the_first_of_three_in_a_row():
    assert detectors.v1(STEPS, trace(15, 16, 20, 21, 22, 30)).step == 2000


def test_v1_may_fire_inside_its_baseline_but_then_knows_it_only_at_its_end():
    assert detectors.v1(STEPS, trace(2, 3, 4)) == Onset(200, 1100, 0)


def test_v2_does_not_search_the_first_quarter():
    early = trace(4, 5)
    assert detectors.v2(STEPS, early).step is None
    assert detectors.v2(STEPS, early).search_from == 1000
    assert detectors.spike(STEPS, early).step == 400  # the same burst, found where the search is allowed


def test_v2_reports_a_step_before_the_data_differ():
    """Two traces that are equal up to the reported onset and one step beyond: the onset is in the future."""
    D = trace(25)
    onset = detectors.v2(STEPS, D)
    seen = onset.step // 100 + 2  # values up to and including the onset, and one more
    assert np.array_equal(D[:seen], QUIET[:seen])
    assert detectors.v2(STEPS, QUIET).step is None
    assert onset.known_at == onset.step + 200


def test_v2_takes_exact_zeros_for_a_hundredth():
    D = np.where(np.arange(N) < 20, 0.0, 0.06)
    assert detectors.v2(STEPS, D).step == 1800  # 0.06 > 5 * 0.01
    assert detectors.v2(STEPS, np.minimum(D, 0.049)).step is None


def test_spike_needs_factor_floor_and_third_value():
    assert detectors.spike(STEPS, 0.001 * trace(9, height=1e6)).step == 900  # baseline lifted to 0.1: 1000 > 1
    assert detectors.spike(STEPS, trace(9, height=20.0)).step is None  # not above the floor
    assert detectors.spike(STEPS, 5 * trace(9, height=9.0)).step is None  # 45 < 10 * 5
    assert detectors.spike(STEPS, trace(1)).step is None  # the search begins at the third value
    assert detectors.spike(STEPS, trace(9, height=20.0), floor=19).step == 900
    assert detectors.spike(STEPS, trace(9, height=30.0), factor=31).step is None


@pytest.mark.parametrize("name", DETECTORS)
def test_a_steady_rise_is_an_onset_for_every_detector(name):
    """A trace that doubles every 10 values has no event, and every detector finds one."""
    assert DETECTORS[name](STEPS, 8 * 2 ** (np.arange(N) / 10)).step is not None


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("name", DETECTORS)
def test_short_traces(name, n):
    assert DETECTORS[name](STEPS[:n], np.ones(n)).step is None


def test_later_values_change_no_onset_that_was_known():
    rng = np.random.default_rng(0)
    for _ in range(50):
        D = np.exp(2 * rng.standard_normal(N))
        onset = detectors.spike(STEPS, D)
        if onset.step is not None:
            end = onset.known_at // 100 + 1
            assert detectors.spike(STEPS[:end], D[:end]).step == onset.step


def test_length_of_the_run_moves_the_baseline():
    """v1 and v2 are no functions of the past: cutting off the end, far after the onset, moves the onset."""
    D = np.where(np.arange(N) < 6, 1.0, np.where(np.arange(N) < 30, 10.0, 100.0))
    assert detectors.v1(STEPS, D).step != detectors.v1(STEPS[:20], D[:20]).step
    assert detectors.v2(STEPS, D).step != detectors.v2(STEPS[:20], D[:20]).step


@pytest.mark.parametrize(("name", "low", "high"), [("v1", 0.1, 0.35), ("v2", 0.15, 0.4), ("spike", 0.3, 0.9)])
def test_false_alarms_on_noise_without_any_event(name, low, high):
    """120 independent log-normal values, sd one e-fold: detectors that ask for one high value fire often."""
    rng, steps = np.random.default_rng(3), np.arange(120)
    fired = [DETECTORS[name](steps, 5 * np.exp(rng.standard_normal(120))).step is not None for _ in range(300)]
    assert low < np.mean(fired) < high
