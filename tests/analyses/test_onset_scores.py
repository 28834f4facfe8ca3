"""Scores of events over runs against hand counts and published numbers."""

import numpy as np
import pytest

from minigrok.analyses.onset.scores import Event, alpha_null, chance_before, score
from minigrok.statistics.detectors import v1, v2
from minigrok.statistics.small_samples import exponent

NAN = float("nan")


def rng():
    return np.random.default_rng(0)


def event(onset, grok, condition="a", chance=0.5, common=None):
    return Event(condition, onset, onset, grok, chance, onset if common is None else common)


def test_chance_of_a_uniform_onset_as_in_the_paper_audit():
    """Search from 25 % of a run whose first grok is at 96 % of it: 0.947; a grok at the very end: 1."""
    assert chance_before(9600, 2500, 10000) == pytest.approx(0.947, abs=5e-4)
    assert chance_before(10000, 2500, 10000) == 1
    assert chance_before(100, 2500, 10000) == 0
    assert np.isnan(chance_before(100, 500, 500))
    assert np.isnan(chance_before(NAN, 0, 500))


def test_fifteen_of_fifteen_is_what_chance_gives():
    """15 runs with chances between 0.947 and 1: 14.9 before by chance. It is a description and has no p."""
    found = score([event(5, 9, chance=c) for c in np.linspace(0.947, 1, 15)], rng())
    assert (found.before, found.runs) == (15, 15)
    assert found.expected == pytest.approx(15 * (0.947 + 1) / 2)
    assert np.isnan(score([event(5, 9, chance=NAN)], rng()).expected)


def test_exchange_has_no_p_where_every_onset_is_before_every_grok():
    found = score([event(o, t) for o, t in ((1, 100), (2, 110), (3, 120), (4, 130), (5, 140))], rng())
    assert (found.common, found.least) == (5, 1)
    assert np.isnan(found.p)
    assert found.law.tolist() == [0, 0, 0, 0, 0, 1]


def test_exchange_finds_onsets_that_know_their_own_grok():
    """Each onset lies just before its own grok: any other order has fewer before."""
    found = score([event(t - 5, t) for t in range(100, 170, 10)], rng())
    assert found.common == 7
    assert found.p < 0.01
    assert found.law[7] < 0.01 < found.law[3]


def test_three_runs_are_too_few_for_a_p_and_a_condition_is_exchanged_within_itself():
    few = score([event(t - 5, t) for t in (100, 110, 120)], rng())
    assert np.isnan(few.p)
    assert few.least > 0.05
    apart = [event(t - 5, t, condition=str(t)) for t in range(100, 170, 10)]
    assert score(apart, rng()).least == 1  # each run alone in its condition: there is nothing to exchange


def test_an_exchange_is_of_what_runs_have_in_common():
    """Onsets of whole runs in step with the grok, and in common none: no p from the former."""
    events = [event(t - 5, t, common=50) for t in range(100, 170, 10)]
    found = score(events, rng())
    assert (found.before, found.common, found.least) == (7, 7, 1)
    assert np.isnan(found.rho)


def size(n, event_of, draws=400):
    """Share of draws with p exchange, and with p rho, at most .05; runs of random length that end at their grok."""
    r, small = np.random.default_rng(n), np.zeros(2)
    for _ in range(draws):
        groks = r.integers(40, 100, n)
        traces = [r.lognormal(0, 3, t) for t in groks]  # no relation to the grok
        onsets = [event_of(trace, groks.min()) for trace in traces]
        found = score([event(o, t) for o, t in zip(onsets, groks, strict=True)], r)
        small += [found.p <= 0.05, found.rho_p is not None and found.rho_p <= 0.05]
    return small / draws


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_p_keep_their_word_on_noise_that_knows_nothing_of_the_grok(n):
    """Size of both p over 400 draws, at most .05 + 3 standard errors."""
    found = size(n, lambda trace, end: v1(np.arange(end), trace[:end]).step or NAN)
    assert (found <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)).all()


@pytest.mark.slow
def test_onsets_of_whole_runs_would_not_keep_it():
    """v2 searches from 25 % of its own run on: on noise alone its onset goes with the grok."""
    found = size(10, lambda trace, end: v2(np.arange(len(trace)), trace).step or NAN, 150)
    assert found[1] > 0.15


def test_counts():
    """Before, after, equal, never; two controls, one with the event."""
    groks = [event(1, 10), event(12, 10), event(10, 10), event(NAN, 10)]
    found = score([*groks, event(5, NAN), event(NAN, NAN)], rng())
    assert (found.runs, found.before, found.controls, found.alarms) == (4, 1, 2, 1)
    assert found.lead == 0  # median of 9, -2, 0
    assert found.expected == 2
    # 1 < 5, inf; 12 and 10 > 5, < inf; inf > 5, = inf
    assert found.auc == pytest.approx((2 + 1 + 1 + 0.5) / 8)


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
    low, high = alpha_null(t, 0.04 * t, rng())
    assert exponent(t, 0.96 * t) == pytest.approx(1)
    assert not low < 1 < high


def test_a_shuffle_without_an_alpha_leaves_no_band():
    """The onset of a long run is after the grok of a short one: that lead has no logarithm."""
    t = np.exp(np.linspace(np.log(2000), np.log(40000), 20))
    assert np.isnan(alpha_null(t, t / 2, rng())).all()
    assert np.isnan(alpha_null(t[:2], t[:2] / 9, rng())).all()


def test_no_runs():
    found = score([], rng())
    assert (found.runs, found.before, found.controls) == (0, 0, 0)
    assert np.isnan([found.expected, found.lead, found.p, found.auc, found.alpha, found.alpha_null[0]]).all()


def test_the_same_stream_gives_the_same_score():
    events = [event(o, t + 100) for o, t in rng().uniform(1, 100, (12, 2))]
    a, b = score(events, rng()), score(events, rng())
    assert a.rho_p == b.rho_p
    assert np.array_equal(a.alpha_null, b.alpha_null)
