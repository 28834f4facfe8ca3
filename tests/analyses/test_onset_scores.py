"""Scores of events over runs against hand counts and published numbers."""

import numpy as np
import pytest

from minigrok.analyses.onset.scores import Event, alpha_null, chance_before, score
from minigrok.statistics.small_samples import exponent

NAN = float("nan")


def rng():
    return np.random.default_rng(0)


def event(onset, grok, condition="a", chance=0.5, shifts=NAN):
    return Event(condition, onset, onset, grok, chance, shifts)


def test_chance_of_a_uniform_onset_as_in_the_paper_audit():
    """Search from 25 % of a run whose first grok is at 96 % of it: 0.947; a grok at the very end: 1."""
    assert chance_before(9600, 2500, 10000) == pytest.approx(0.947, abs=5e-4)
    assert chance_before(10000, 2500, 10000) == 1
    assert chance_before(100, 2500, 10000) == 0
    assert np.isnan(chance_before(100, 500, 500))
    assert np.isnan(chance_before(NAN, 0, 500))


def test_fifteen_of_fifteen_is_expected():
    """15 runs with chances between 0.947 and 1 whose product is 0.83: all before has p = 0.83, not 2^-15."""
    chances = np.array([0.947, 0.96, 0.97, 0.97, *[0.9975] * 11])
    chances[-1] *= 0.83 / np.prod(chances)
    found = score([event(5, 9, chance=c) for c in chances], rng())
    assert (found.before, found.runs) == (15, 15)
    assert found.p_chance == pytest.approx(0.83)


def test_counts():
    """Before, after, equal, never; two controls, one with the event."""
    groks = [event(1, 10), event(12, 10), event(10, 10), event(NAN, 10)]
    found = score([*groks, event(5, NAN), event(NAN, NAN)], rng())
    assert (found.runs, found.before, found.controls, found.alarms) == (4, 1, 2, 1)
    assert found.lead == 0  # median of 9, -2, 0
    assert found.p_chance == pytest.approx(1 - 0.5**4)
    assert np.isnan(found.p_shifts)
    # 1 < 5, inf; 12 and 10 > 5, < inf; inf > 5, = inf
    assert found.auc == pytest.approx((2 + 1 + 1 + 0.5) / 8)


def test_perfect_shifts_give_the_product():
    found = score([event(1, 10, shifts=s) for s in (0.2, 0.3)], rng())
    assert found.p_shifts == pytest.approx(0.06)


def test_rank_correlation_is_within_conditions():
    """Between conditions onset and grok rise together; inside each they do not."""
    inside = [(3, 1), (2, 2), (1, 3)]
    events = [
        event(o + shift, t + shift + 5, condition=name) for name, shift in (("a", 0), ("b", 50)) for o, t in inside
    ]
    found = score(events, rng())
    assert (found.rho, found.rho_n) == (pytest.approx(-1), 6)
    assert found.rho_p == pytest.approx(2 / 36)
    assert score(events[:3], rng()).rho_p is None


def test_constant_onset_makes_alpha_exceed_one_and_gamma_zero():
    """The identity behind "super-linear lead": local exponent t / (t - c) > 1."""
    t = np.array([1800.0, 3100, 9000, 24000, 38700])
    found = score([event(1000, x) for x in t], rng())
    assert found.gamma == pytest.approx(0, abs=1e-12)
    assert found.alpha == pytest.approx(exponent(t, t - 1000))
    assert 1.05 < found.alpha < 1.5
    assert found.alpha_null == pytest.approx(found.alpha)  # shuffling a constant changes nothing


def test_shuffled_onsets_say_when_alpha_is_no_news():
    """Onsets without relation to t: alpha lies in its null. Onsets that are half of t: alpha is 1, far outside."""
    r = rng()
    t = np.exp(np.linspace(np.log(2000), np.log(40000), 20))
    loose = r.uniform(300, 1900, 20)
    low, high = alpha_null(t, loose, rng())
    assert low < exponent(t, t - loose) < high
    low, high = alpha_null(t, t / 2, rng())
    assert exponent(t, t / 2) == pytest.approx(1)
    assert not low < 1 < high


def test_no_runs():
    found = score([], rng())
    assert (found.runs, found.before, found.controls) == (0, 0, 0)
    assert found.chance.size == 0
    assert np.isnan([found.lead, found.p_chance, found.auc, found.alpha, found.alpha_null[0]]).all()


def test_the_same_stream_gives_the_same_score():
    events = [event(o, t) for o, t in rng().uniform(1, 100, (12, 2))]
    a, b = score(events, rng()), score(events, rng())
    assert a.rho_p == b.rho_p
    assert np.array_equal(a.alpha_null, b.alpha_null)
