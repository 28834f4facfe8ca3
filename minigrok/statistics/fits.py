"""Laws of grok time t against weight decay wd > 0, fitted on a common footing.

    power law      ln t = ln a - b ln wd          the paper's "log-log" and "power law": one law in two spaces
    exponential    ln t = ln a - b wd
    reciprocal     ln t = ln(a / (wd + b) + c)    a > 0, b and c >= 0: times fall and level off
    clock          ln t = ln a - ln wd            t lr wd is constant: the null that needs no law
All by least squares in ln t, runs as replicates: errors are relative, and likelihoods compare. With n runs, RSS the sum
of squared residuals and k parameters, the variance included:
    AIC = n ln(RSS / n) + 2 k       AICc = AIC + 2 k (k + 1) / (n - k - 1)
    lack of fit      F = ((RSS - E) / (m - p)) / (E / (n - m)): E the spread between runs of one wd, m weight decays,
                     p parameters; a small p value says that the law misses the means. Where runs share seeds, E
                     holds what seeds differ by, and p is too large
    band             ln t -/+ t_df sqrt(j^T C j), C the covariance of the parameters, j the derivatives of ln t by the
                     parameters at a wd. It holds the curve of a law that is true in 95 % of the draws; AICc's choice
                     among laws, it does not know
    covariance       where every run has a seed of its own   C = s^2 R R^T, s^2 = RSS / (n - p), df = n - p
                     where runs share seeds                  C = S / (S - 1) sum_s (R_s r_s) (R_s r_s)^T, df = S - 1
                     J (n, p) the derivatives at the runs, R = (J^T J)^-1 J^T, r the residuals, R_s r_s their part of
                     seed s among S. The second is exact, whatever the runs of a seed share, if every seed has every
                     wd and ln t is linear in the parameters (all but the reciprocal law); a seed is then one fit
Over one decade a reciprocal law imitates wd^-0.9 to 1 %: AICc decides between the two only with many runs.
wd = 0 is on no such axis: the caller leaves it out, as well as runs that never grokked.
Protocol of the paper (`paper_fits`): log-log in logarithms, the others in linear space, each with R^2 of its own space.
Source: arXiv:2602.18523, code aa4e72f, figMT_F1-F3; Hurvich & Tsai 1989 (AICc); Draper & Smith 1998, section 2.1 (lack
of fit); Bates & Watts 1988, chapter 2 (band, linear approximation); Liang & Zeger 1986 (covariance of clusters);
clock, common footing: minigrok.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit, least_squares
from scipy.stats import f as f_law

from minigrok.engine import Array
from minigrok.errors import ShapeError
from minigrok.statistics.intervals import around, student_p


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
    rss, aicc, r2 : float      in ln t; nan where there are too few runs
    lack : float               p of the lack of fit; nan: no replicate, or no freedom left
    residuals : (m,)           mean of ln t - fit at each wd
    spread : (p, k)            C = spread spread^T
    df : int                   its degrees of freedom
    """

    law: str
    parameters: Array
    rss: float
    aicc: float
    r2: float
    lack: float
    residuals: Array
    spread: Array
    df: int

    def __call__(self, x: Array) -> Array:
        """Return t at weight decays x."""
        return np.asarray(np.exp(LAWS[self.law].curve(np.asarray(x, float), self.parameters)))

    def band(self, x: Array) -> Array:
        """Return the central 95 % (2, len(x)) of t at weight decays x; nan where no freedom is left."""
        errors = np.linalg.norm(_slopes(self.law, x, self.parameters) @ self.spread, axis=1)
        ends = [around(value, error, self.df) for value, error in zip(np.log(self(x)), errors, strict=True)]
        return np.exp(np.array(ends).T)  # type: ignore[no-any-return]

    def interval(self, parameter: str) -> tuple[float, float]:
        """Return the 95 % interval of a parameter; nan where no freedom is left."""
        i = LAWS[self.law].parameters.index(parameter)
        return around(float(self.parameters[i]), float(np.linalg.norm(self.spread[i])), self.df)


class PaperFit(NamedTuple):
    """One of the paper's fits; R^2 values of different spaces do not compare."""

    law: str
    parameters: Array  # (p,); nan: did not converge
    space: str  # of the fit and of its R^2
    r2: float


def fit_laws(x: Array, t: Array, seeds: Array | None = None) -> list[Fit]:
    """Return every law that the weight decays can decide, the smallest AICc first.

    Parameters
    ----------
    x, t : (n,) float       wd > 0 and grok time > 0 of each run
    seeds : (n,) int        of each run; default one for each

    Raises
    ------
    ShapeError
        Fewer than two weight decays, or values that are not positive and finite.
    """
    x, t = _checked(x, t)
    seeds = np.arange(len(x)) if seeds is None else seeds
    distinct = len(np.unique(x))
    fits = [_fit(name, x, np.log(t), seeds) for name, law in LAWS.items() if distinct >= len(law.parameters)]
    return sorted(fits, key=lambda fit: (np.isnan(fit.aicc), fit.aicc))


def bend(x: Array, t: Array, seeds: Array | None = None) -> tuple[float, float]:
    """Return the coefficient of (ln wd)^2 beside a power law, and its p; nan with fewer than three wd or no freedom."""
    if len(np.unique(x)) < 3:
        return float("nan"), float("nan")
    u, y = np.log(x), np.log(t)
    root = np.linalg.pinv(np.stack([np.ones_like(u), u, (u - u.mean()) ** 2], axis=1))
    beta = root @ y
    residuals = y - np.linalg.pinv(root) @ beta
    spread, df = _spread(root, residuals, np.arange(len(u)) if seeds is None else seeds)
    error = float(np.linalg.norm(spread[2]))
    return float(beta[2]), student_p(float(beta[2]) / error, df) if error > 0 else float("nan")


def paper_fits(x: Array, t: Array) -> list[PaperFit]:
    """Return the paper's four fits; parameters as in LAWS.

    Raises
    ------
    ShapeError
        As in `fit_laws`.
    """
    x, t = _checked(x, t)
    logs = _weighted_line(np.log(x), np.log(t), np.ones(len(x)))
    start, slope = np.array([np.exp(logs[0]), -logs[1]]), _weighted_line(x, np.log(t), np.ones(len(x)))
    found = [PaperFit("log-log", start, "ln t", _r2(np.log(t), logs[0] + logs[1] * np.log(x)))]
    starts = {
        "power law": start,
        "exponential": np.array([np.exp(slope[0]), -slope[1]]),
        "reciprocal": np.array([np.mean(x * t), 0.01, 0.0]),
    }
    return found + [_linear_space(name, x, t, p0) for name, p0 in starts.items() if len(np.unique(x)) >= len(p0)]


def _fit(name: str, x: Array, y: Array, seeds: Array) -> Fit:
    law, n = LAWS[name], len(y)
    wd, means, runs = _means(x, y)
    parameters = law.fit(wd, means, runs)
    rss = float(((y - law.curve(x, parameters)) ** 2).sum())
    k = len(parameters) + 1
    aic = n * np.log(max(rss, np.finfo(float).tiny) / n) + 2 * k
    aicc = aic + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else float("nan")
    between = float(((y - means[np.searchsorted(wd, x)]) ** 2).sum())
    lack = _lack(rss, between, n, len(wd), len(parameters))
    fitted = law.curve(x, parameters)
    spread, df = _spread(np.linalg.pinv(_slopes(name, x, parameters)), y - fitted, seeds)
    off = means - law.curve(wd, parameters)
    return Fit(name, parameters, rss, float(aicc), _r2(y, fitted), lack, off, spread, df)


def _spread(root: Array, residuals: Array, seeds: Array) -> tuple[Array, int]:
    """Return the spread (p, k) of the parameters and its degrees of freedom; nan without any."""
    (p, n), of = root.shape, np.unique(seeds, return_inverse=True)[1]
    S = int(of.max()) + 1
    if S == n:
        df, spread = n - p, root * np.linalg.norm(residuals)
    else:
        df, spread = S - 1, (root * residuals) @ (of[:, None] == np.arange(S)) * np.sqrt(S)
    return (spread / np.sqrt(df), df) if df > 0 else (np.full((p, 1), np.nan), 0)


def _slopes(name: str, x: Array, parameters: Array) -> Array:
    """Return the derivatives (n, p) of ln t by the parameters at x, to rounding: by a complex step."""
    h = 1e-30
    steps = [LAWS[name].curve(x, parameters + 1j * h * each).imag / h for each in np.eye(len(parameters))]
    return np.stack(steps, axis=1)


def _lack(rss: float, between: float, n: int, m: int, p: int) -> float:
    if n <= m or m <= p or between == 0:
        return float("nan")
    F = (rss - between) / (m - p) / (between / (n - m))
    return float(f_law.sf(F, m - p, n - m))


def _means(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return each weight decay (m,), its mean y and its number of runs."""
    wd, of, runs = np.unique(x, return_inverse=True, return_counts=True)
    return wd, np.bincount(of, y) / runs, runs


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


def _checked(x: Array, t: Array) -> tuple[Array, Array]:
    x, t = np.asarray(x, float), np.asarray(t, float)
    if not x.shape == t.shape == (x.size,):
        got = f"shapes {x.shape} and {t.shape}"
        raise ShapeError("a weight decay and a time for each run, (n,)", got, "pass one of each a run")
    if not (np.isfinite(x) & np.isfinite(t) & (x > 0) & (t > 0)).all():
        do = "leave out weight decay 0 and runs that never grokked: survival curves are for those"
        raise ShapeError("weight decays and times that are positive and finite", f"{x} and {t}", do)
    if len(np.unique(x)) < 2:
        got = f"{len(np.unique(x))} in {len(x)} runs that grokked"
        raise ShapeError("two weight decays or more to fit a law", got, "add runs of another weight decay")
    return x, t
