"""Laws of grok time t against weight decay wd > 0, fitted on a common footing.

    power law      ln t = ln a - b ln wd          the paper's "log-log" and "power law": one law in two spaces
    exponential    ln t = ln a - b wd
    reciprocal     ln t = ln(a / (wd + b) + c)    a > 0, b and c >= 0: times fall and level off
    clock          ln t = ln a - ln wd            t lr wd is constant: the null that needs no law
All by least squares in ln t, runs as replicates: errors are relative, and likelihoods compare. With n runs, RSS the sum
of squared residuals and k parameters, the variance included:
    AIC = n ln(RSS / n) + 2 k       AICc = AIC + 2 k (k + 1) / (n - k - 1)
    lack of fit      F = ((RSS - E) / (m - p)) / (E / (n - m)): E the spread between runs of one wd, m weight decays,
                     p parameters; a small p value says that the law misses the means
    bootstrap        seeds drawn with replacement, with all their runs if every seed has every wd, else within each wd
Over one decade a reciprocal law imitates wd^-0.9 to 1 %: AICc decides between the two only with many runs.
With three seeds a bootstrap sees two thirds of the variance, and its intervals are short; `slope_interval` is the
classical one. wd = 0 is on no such axis: the caller leaves it out, as well as runs that never grokked.
Protocol of the paper (`paper_fits`): log-log in logarithms, the others in linear space, each with R^2 of its own space.
Source: arXiv:2602.18523, code aa4e72f, figMT_F1-F3; Hurvich & Tsai 1989 (AICc); Efron 1979 (bootstrap); lack of fit:
Draper & Smith 1998, section 2.1; clock, common footing: minigrok.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit, least_squares
from scipy.stats import f as f_law
from scipy.stats import t as t_law

from minigrok.engine import Array
from minigrok.errors import ShapeError

DRAWS = 400  # of the bootstrap: our choice
BAND = (0.025, 0.975)


class Law(NamedTuple):
    """A law: `curve` (wd, parameters) -> ln t, `fit` (wd, means of ln t, runs behind each) -> parameters."""

    formula: str
    parameters: tuple[str, ...]
    curve: Callable[[Array, Array], Array]
    fit: Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Fit:
    """A law fitted.

    Attributes
    ----------
    law : str
    parameters : (p,)          in the order of LAWS[law].parameters
    rss, aic, aicc, r2 : float in ln t; nan where there are too few runs
    lack : float               p of the lack of fit; nan: no replicate, or no freedom left
    residuals : (m,)           mean of ln t - fit at each wd
    draws : (draws, p)         bootstrap; none of them where every wd has one run
    """

    law: str
    parameters: Array
    rss: float
    aic: float
    aicc: float
    r2: float
    lack: float
    residuals: Array
    draws: Array

    def __call__(self, x: Array) -> Array:
        """Return t at weight decays x."""
        return np.asarray(np.exp(LAWS[self.law].curve(np.asarray(x, float), self.parameters)))

    def band(self, x: Array) -> Array:
        """Return the central 95 % (2, len(x)) of the bootstrap's curves; nan without a bootstrap."""
        if not len(self.draws):
            return np.full((2, len(x)), np.nan)
        curves = np.array([LAWS[self.law].curve(np.asarray(x, float), drawn) for drawn in self.draws])
        return np.asarray(np.exp(np.quantile(curves, BAND, axis=0)))

    def interval(self, parameter: str) -> Array:
        """Return the central 95 % (2,) of a parameter over the bootstrap; nan without one."""
        if not len(self.draws):
            return np.full(2, np.nan)
        return np.asarray(np.quantile(self.draws[:, LAWS[self.law].parameters.index(parameter)], BAND))


class PaperFit(NamedTuple):
    """One of the paper's fits; R^2 values of different spaces do not compare."""

    law: str
    parameters: Array  # (p,); nan: did not converge
    space: str  # of the fit and of its R^2
    r2: float


def fit_laws(
    x: Array, t: Array, seeds: Array, rng: np.random.Generator, draws: int = DRAWS, laws: Sequence[str] = ()
) -> list[Fit]:
    """Return every law that the weight decays can decide, the smallest AICc first.

    Parameters
    ----------
    x, t : (n,) float       wd > 0 and grok time > 0 of each run
    seeds : (n,) int
    rng : numpy Generator
    draws : int             of the bootstrap
    laws : sequence of str  names in LAWS; none: all

    Raises
    ------
    ShapeError
        Fewer than two weight decays, or values that are not positive and finite.
    """
    x, t, seeds = _checked(x, t, seeds)
    y, drawn = np.log(t), _resampled(x, seeds, rng, draws)
    named = {name: LAWS[name] for name in laws or LAWS}
    distinct = len(np.unique(x))
    fits = [_fit(name, x, y, drawn) for name, law in named.items() if distinct >= len(law.parameters)]
    return sorted(fits, key=lambda fit: (np.isnan(fit.aicc), fit.aicc))


def slope_interval(x: Array, t: Array) -> tuple[float, float, float]:
    """Return the exponent b of t ~ wd^-b and its classical 95 % interval; nan with fewer than three runs."""
    u, y = np.log(x), np.log(t)
    u = u - u.mean()
    b, n = -float(u @ y / (u @ u)), len(u)
    if n < 3:
        return b, float("nan"), float("nan")
    error = np.sqrt(((y - y.mean() + b * u) ** 2).sum() / (n - 2) / (u @ u))
    wide = float(t_law.ppf(BAND[1], n - 2) * error)
    return b, b - wide, b + wide


def bend(x: Array, t: Array) -> tuple[float, float]:
    """Return the coefficient of (ln wd)^2 beside a power law, and its p; nan with fewer than three wd or four runs."""
    if len(np.unique(x)) < 3 or len(x) < 4:
        return float("nan"), float("nan")
    u, y = np.log(x), np.log(t)
    design = np.stack([np.ones_like(u), u, (u - u.mean()) ** 2], axis=1)
    beta, *_ = np.linalg.lstsq(design, y, rcond=None)
    variance = ((y - design @ beta) ** 2).sum() / (len(y) - 3) * np.linalg.inv(design.T @ design)[2, 2]
    if variance == 0:
        return float(beta[2]), float("nan")
    return float(beta[2]), float(2 * t_law.sf(abs(beta[2]) / np.sqrt(variance), len(y) - 3))


def paper_fits(x: Array, t: Array) -> list[PaperFit]:
    """Return the paper's four fits; parameters as in LAWS.

    Raises
    ------
    ShapeError
        As in `fit_laws`.
    """
    x, t, _ = _checked(x, t, np.zeros(len(x)))
    logs = _weighted_line(np.log(x), np.log(t), np.ones(len(x)))
    start, slope = np.array([np.exp(logs[0]), -logs[1]]), _weighted_line(x, np.log(t), np.ones(len(x)))
    found = [PaperFit("log-log", start, "ln t", _r2(np.log(t), logs[0] + logs[1] * np.log(x)))]
    starts = {
        "power law": start,
        "exponential": np.array([np.exp(slope[0]), -slope[1]]),
        "reciprocal": np.array([np.mean(x * t), 0.01, 0.0]),
    }
    return found + [_linear_space(name, x, t, p0) for name, p0 in starts.items() if len(np.unique(x)) >= len(p0)]


def _fit(name: str, x: Array, y: Array, drawn: Sequence[Array]) -> Fit:
    law, n = LAWS[name], len(y)
    wd, means, runs = _means(x, y)
    parameters = law.fit(wd, means, runs)
    rss = float(((y - law.curve(x, parameters)) ** 2).sum())
    k = len(parameters) + 1
    aic = n * np.log(max(rss, np.finfo(float).tiny) / n) + 2 * k
    aicc = aic + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else float("nan")
    between = float(((y - means[np.searchsorted(wd, x)]) ** 2).sum())
    lack = _lack(rss, between, n, len(wd), len(parameters))
    draws = np.array([law.fit(*_means(x[rows], y[rows])) for rows in drawn]).reshape(len(drawn), len(parameters))
    return Fit(
        name, parameters, rss, float(aic), float(aicc), _r2(y, law.curve(x, parameters)), lack,
        means - law.curve(wd, parameters), draws,
    )  # fmt: skip


def _lack(rss: float, between: float, n: int, m: int, p: int) -> float:
    if n <= m or m <= p or between == 0:
        return float("nan")
    F = (rss - between) / (m - p) / (between / (n - m))
    return float(f_law.sf(F, m - p, n - m))


def _means(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return each weight decay (m,), its mean y and its number of runs."""
    wd, of, runs = np.unique(x, return_inverse=True, return_counts=True)
    return wd, np.bincount(of, y) / runs, runs


def _resampled(x: Array, seeds: Array, rng: np.random.Generator, draws: int) -> list[Array]:
    """Return the rows of each resample, in which every weight decay keeps a run; none if no wd has two."""
    wd, different = np.unique(x), np.unique(seeds)
    if len(wd) == len(x):
        return []
    if len(x) == len(wd) * len(different) == len({*zip(x, seeds, strict=True)}):
        of = [np.flatnonzero(seeds == seed) for seed in different]
        return [np.concatenate([of[i] for i in rng.integers(0, len(of), len(of))]) for _ in range(draws)]
    of = [np.flatnonzero(x == each) for each in wd]
    return [np.concatenate([rng.choice(rows, len(rows)) for rows in of]) for _ in range(draws)]


def _weighted_line(u: Array, y: Array, weights: Array) -> Array:
    """Return intercept and slope of the weighted least-squares line."""
    w = weights / weights.sum()
    mean, middle = w @ u, w @ y
    slope = w @ ((u - mean) * (y - middle)) / (w @ (u - mean) ** 2)
    return np.array([middle - slope * mean, slope])


def _fit_power(x: Array, y: Array, n: Array) -> Array:
    intercept, slope = _weighted_line(np.log(x), y, n)
    return np.array([np.exp(intercept), -slope])


def _fit_exponential(x: Array, y: Array, n: Array) -> Array:
    intercept, slope = _weighted_line(x, y, n)
    return np.array([np.exp(intercept), -slope])


def _fit_clock(x: Array, y: Array, n: Array) -> Array:
    return np.array([np.exp(n @ (y + np.log(x)) / n.sum())])


def _fit_reciprocal(x: Array, y: Array, n: Array) -> Array:
    """Minimise over (ln a, b, c / shortest time), from a pure clock and from one that has levelled off."""
    root, shortest = np.sqrt(n), np.exp(y.min())

    def wrong(q: Array) -> Array:
        return root * (y - _reciprocal(x, np.array([np.exp(q[0]), q[1], q[2] * shortest])))  # type: ignore[no-any-return]

    clock = np.log(_fit_clock(x, y, n)[0])
    starts = [np.array([clock, 0.01 * x.min(), 0.01]), np.array([clock, x.max(), 0.5])]
    found = [least_squares(wrong, q, bounds=([-np.inf, 0, 0], [np.inf, np.inf, 1.0])) for q in starts]
    a, b, c = min(found, key=lambda each: each.cost).x
    return np.array([np.exp(a), b, c * shortest])


def _reciprocal(x: Array, p: Array) -> Array:
    return np.log(p[0] / (x + p[1]) + p[2])  # type: ignore[no-any-return]


LAWS: dict[str, Law] = {
    "power law": Law("a wd^-b", ("a", "b"), lambda x, p: np.log(p[0]) - p[1] * np.log(x), _fit_power),
    "exponential": Law("a exp(-b wd)", ("a", "b"), lambda x, p: np.log(p[0]) - p[1] * x, _fit_exponential),
    "reciprocal": Law("a / (wd + b) + c", ("a", "b", "c"), _reciprocal, _fit_reciprocal),
    "clock": Law("a / wd", ("a",), lambda x, p: np.log(p[0]) - np.log(x), _fit_clock),
}


def _linear_space(name: str, x: Array, t: Array, start: Array) -> PaperFit:
    """Fit of t itself, without bounds, as the paper's."""

    def curve(wd: Array, *p: float) -> Array:
        a, b, *c = p
        if name == "reciprocal":
            return a / (wd + b) + c[0]
        return a * wd**-b if name == "power law" else a * np.exp(-b * wd)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)  # about covariances, which are not used
        try:
            parameters, _ = curve_fit(curve, x, t, p0=start, maxfev=20_000)
        except RuntimeError:  # no convergence
            return PaperFit(name, np.full(len(start), np.nan), "t", float("nan"))
        return PaperFit(name, parameters, "t", _r2(t, curve(x, *parameters)))


def _r2(y: Array, fitted: Array) -> float:
    spread = float(((y - y.mean()) ** 2).sum())
    return 1 - float(((y - fitted) ** 2).sum()) / spread if spread else float("nan")


def _checked(x: Array, t: Array, seeds: Array) -> tuple[Array, Array, Array]:
    x, t, seeds = np.asarray(x, float), np.asarray(t, float), np.asarray(seeds)
    if not x.shape == t.shape == seeds.shape == (x.size,):
        got = f"shapes {x.shape}, {t.shape} and {seeds.shape}"
        raise ShapeError("a weight decay, a time and a seed for each run, (n,)", got, "pass one of each a run")
    if not (np.isfinite(x) & np.isfinite(t) & (x > 0) & (t > 0)).all():
        do = "leave out weight decay 0 and runs that never grokked: survival curves are for those"
        raise ShapeError("weight decays and times that are positive and finite", f"{x} and {t}", do)
    if len(np.unique(x)) < 2:
        got = f"{len(np.unique(x))} in {len(x)} runs that grokked"
        raise ShapeError("two weight decays or more to fit a law", got, "add runs of another weight decay")
    return x, t, seeds
