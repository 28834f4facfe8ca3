"""Laws of grok time: each recovers itself and wins, replicates are seen, what cannot be fitted is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.errors import ShapeError
from minigrok.statistics import fits
from minigrok.statistics.fits import LAWS, fit_laws, paper_fits, slope_interval

WD, SEEDS = np.array([1, 0.5, 0.3, 0.2, 0.1]), np.array([42, 137, 2024])
TRUTH = {
    "power law": [10585.0, 0.911],
    "exponential": [60000.0, 2.0],
    "reciprocal": [9000.0, 0.2, 4000.0],
    "clock": [8500.0],
}


def runs(law, noise=0.1, seed=0, wd=WD, n=3, seed_noise=0.0, truth=None):
    """Times of n seeds at each weight decay; `seed_noise` is shared by all runs of a seed."""
    rng = np.random.default_rng(seed)
    x, seeds = np.repeat(wd, n), np.tile(np.arange(n), len(wd))
    shared = seed_noise * rng.standard_normal(n)[seeds]
    t = np.exp(
        LAWS[law].curve(x, np.array(TRUTH[law]) if truth is None else truth)
        + noise * rng.standard_normal(len(x))
        + shared
    )
    return x, t, seeds


def fitted(law, *data, draws=50):
    (found,) = fit_laws(*data, np.random.default_rng(0), draws, [law])
    return found


@pytest.mark.parametrize("law", LAWS)
def test_a_law_without_noise_is_found_exactly_and_wins(law):
    x, t, seeds = runs(law, noise=0)
    found = fit_laws(x, t, seeds, np.random.default_rng(0), 2)
    same = [fit for fit in found if fit.rss < 1e-12]
    assert law in [fit.law for fit in same]
    assert fitted(law, x, t, seeds, draws=2).parameters == pytest.approx(TRUTH[law], rel=1e-4)
    if law in ("power law", "exponential"):  # the clock is also a power law, and a reciprocal one
        assert found[0].law == law
        assert found[0].rss < 1e-20


@pytest.mark.parametrize(
    ("law", "chance"), [("power law", 0.95), ("exponential", 0.95), ("reciprocal", 0.95), ("clock", 0.75)]
)
def test_the_generating_law_has_the_smallest_aicc(law, chance):
    """Of 40 draws, noise 5 %, within 3 standard errors of the chance.

    The clock is a special power law and a special reciprocal one; AICc lets a needless parameter in where chi-square of
    one degree of freedom is above 2, in 16 % of the draws, and there are two such laws. The power law is steeper than
    any reciprocal one here: over one decade wd^-0.9 is a reciprocal law, to 1 %.
    """
    truth = np.array([10585.0, 1.3] if law == "power law" else TRUTH[law])
    won = [
        fit_laws(*runs(law, 0.05, seed, n=10, truth=truth), np.random.default_rng(0), 1)[0].law == law
        for seed in range(40)
    ]
    assert np.mean(won) >= chance - 3 * np.sqrt(chance * (1 - chance) / 40)


def test_intervals_of_the_exponent_cover_it():
    """Nominally 95 % over 100 draws of 5 x 8 runs: the classical and the bootstrap's, binomial 3 standard errors."""
    classical = bootstrap = 0
    for seed in range(100):
        data = runs("power law", 0.15, seed, n=8)
        _, low, high = slope_interval(*data[:2])
        classical += low <= TRUTH["power law"][1] <= high
        low, high = fitted("power law", *data, draws=100).interval("b")
        bootstrap += low <= TRUTH["power law"][1] <= high
    assert classical >= 88
    assert bootstrap >= 82  # eight seeds: the bootstrap's are 7 % short, of 100 draws a little more


def test_what_a_seed_adds_to_all_its_runs_does_not_move_the_exponent():
    """Seeds that have every wd are drawn whole: their shared part cancels from the slope's interval."""
    x, t, seeds = runs("power law", 0.001, n=6, seed_noise=0.3)
    low, high = fitted("power law", x, t, seeds).interval("b")
    assert high - low < 0.005
    apart = fitted("power law", x, t, np.arange(len(x)))  # no seed has every wd: drawn within each
    low, high = apart.interval("b")
    assert high - low > 0.05


def test_lack_of_fit_is_seen_by_replicates_alone():
    x, t, seeds = runs("exponential", 0.05)
    assert fitted("power law", x, t, seeds).lack < 1e-3
    assert fitted("exponential", x, t, seeds).lack > 0.05
    once = x[::3], t[::3], seeds[::3]
    assert np.isnan(fitted("power law", *once).lack)


def test_bend_rejects_one_exponent():
    curved = np.exp(9 - np.log(WD) + 0.2 * np.log(WD) ** 2)
    rng = np.random.default_rng(0)
    x, t = np.repeat(WD, 3), np.repeat(curved, 3) * np.exp(0.05 * rng.standard_normal(15))
    value, p = fits.bend(x, t)
    assert value == pytest.approx(0.2, abs=0.08)
    assert p < 1e-3
    assert fits.bend(*runs("power law", 0.1)[:2])[1] > 0.05


@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_units_of_time_and_decay_change_no_exponent(a, b):
    x, t, seeds = runs("power law", 0.2)
    here, there = fitted("power law", x, t, seeds, draws=1), fitted("power law", a * x, b * t, seeds, draws=1)
    assert here.parameters[1] == pytest.approx(there.parameters[1])
    assert here.rss == pytest.approx(there.rss)


def test_order_of_the_runs_is_nothing():
    x, t, seeds = runs("reciprocal", 0.1)
    order = np.random.default_rng(1).permutation(len(x))
    for law in LAWS:
        here, there = fitted(law, x, t, seeds, draws=1), fitted(law, x[order], t[order], seeds[order], draws=1)
        assert here.parameters == pytest.approx(there.parameters, rel=1e-5)


def test_paper_fits_are_least_squares_of_their_own_space():
    x, t, _ = runs("power law", 0.2)
    found = {fit.law: fit for fit in paper_fits(x, t)}
    slope, intercept = np.polyfit(np.log(x), np.log(t), 1)
    assert found["log-log"].parameters == pytest.approx([np.exp(intercept), -slope])
    assert found["log-log"].r2 == pytest.approx(np.corrcoef(np.log(x), np.log(t))[0, 1] ** 2)
    a, b = found["power law"].parameters
    best = ((t - a * x**-b) ** 2).sum()
    for da, db in ((1.01, 0), (1, 0.01), (1, -0.01)):
        assert ((t - a * da * x ** -(b + db)) ** 2).sum() > best
    assert found["power law"].r2 == pytest.approx(1 - best / ((t - t.mean()) ** 2).sum())
    assert [found[law].space for law in found] == ["ln t", "t", "t", "t"]


def test_two_weight_decays_decide_no_law_of_three_parameters():
    x, t, seeds = runs("power law", 0.1, wd=np.array([1, 0.5]))
    assert {fit.law for fit in fit_laws(x, t, seeds, np.random.default_rng(0), 2)} == {
        "power law",
        "exponential",
        "clock",
    }
    assert np.isnan(fits.bend(x, t)).all()


def test_two_runs_are_fitted_and_nothing_more_is_said():
    found = fitted("power law", np.array([1, 0.5]), np.array([10.0, 20.0]), np.array([1, 1]))
    assert found.parameters == pytest.approx([10, 1])
    assert np.isnan([found.aicc, found.lack, *found.interval("b")]).all()
    assert np.isnan(found.band(np.array([0.7]))).all()
    assert np.isnan(slope_interval(np.array([1, 0.5]), np.array([10.0, 20.0]))[1])


@pytest.mark.parametrize(
    ("x", "t", "words"),
    [
        ([1.0, 1.0, 1.0], [5.0, 6, 7], "two weight decays"),
        ([1.0, 0.0], [5.0, 6], "weight decay 0"),
        ([1.0, 0.5], [5.0, np.nan], "never grokked"),
        ([1.0, 0.5], [5.0], "for each run"),
        ([], [], "two weight decays"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, t, words):
    for fit in (lambda: fit_laws(x, t, np.arange(len(x)), np.random.default_rng(0)), lambda: paper_fits(x, t)):
        with pytest.raises(ShapeError, match=words):
            fit()
