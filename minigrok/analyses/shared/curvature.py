"""Curvature of a run's training loss at one point: counted products, and what is measured with them.

    H          Hessian of the summed loss of all tasks, mean over ALL training pairs, float64;  H_k of task k alone
    G          Gauss-Newton part J^T (d2L / dz2) J >= 0
    H - G      sum_i (dL / dz_i) (d2z_i / dtheta2): the curvature of the network, which vanishes with the residuals
    B^T H B    (K, K): curvature inside the span of an orthonormal basis B (P, K), exact
    outside    (I - B B^T) H (I - B B^T)
    density    P sum_i w_i N(x; asinh(theta_i / (c m)), s), eigenvalues per unit of x = asinh(lambda / (c m)), from the
               Ritz values theta_i and weights w_i of a random start, one curve a start; m = max |theta_i|
    resolved   share of the weight of a start that is known to lie within a bump, +-2 s: w_i lies between theta_{i-1}
               and theta_{i+1} (Chebyshev, Markov, Stieltjes), and near theta_i if its residual is small. What else a
               curve shows is the spacing of Ritz values. On dense spectra of small models a curve was off by at most
               .04 of 2 (in L1) where 90 % is resolved; at initial weights 80 products resolve 40 %, and it is off by
               .5, near 0 above all
Source: Gauss-Newton and residual part: Schraudolph 2002, section 3; quadrature: minigrok.geometry.krylov; brackets of
its weights: Szego 1939, section 3.41.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses.base import Work
from minigrok.engine import Array
from minigrok.geometry import krylov, subspace
from minigrok.geometry.bases import Basis
from minigrok.network.objective import Objective
from minigrok.network.params import Layout
from minigrok.storage.runs import Run
from minigrok.tasks import pairs

Product = Callable[[Array], Array]
SHARD = 512  # pairs at most: our choice; on the paper's model 128 and 1152 pairs a shard take a quarter longer
EVEN = 4  # shards are a multiple of it: 9 shards on two threads are 5 and 4, a tenth of the time lost
EVERY = 10  # products between two reports of progress
LINEAR, WIDTH, GRID = 1e-3, 0.4, 400  # c, s and points of the density: our choice


class Meter:
    """Counts products, reports every tenth, and keeps finished parts.

    Parameters
    ----------
    work : Work
    total : int
        Products planned.
    """

    def __init__(self, work: Work, total: int) -> None:
        self.work, self.total, self.done, self.words = work, total, 0, ""

    def tick(self) -> None:
        """Count one product."""
        self.done += 1
        if self.done % EVERY == 0:
            self.work.report(self.done, self.total, self.words)

    def part(self, name: str, products: int, compute: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
        """Return the arrays of a part that takes so many products, computed now or in an earlier sitting."""
        end, self.words = self.done + products, f"products: {name}"
        found = self.work.part(name, compute)
        self.done = end  # also where the part was there already, or Lanczos ended early
        self.work.report(self.done, self.total, self.words)
        return found


class Curvature:
    """Products with the curvature of a run's training loss.

    Parameters
    ----------
    run : Run
    tick : function
        Called after every product.

    Notes
    -----
    Memory: the tapes of all training pairs, 0.3 MB a pair for the paper's model (1.4 GB for its 4608).
    """

    def __init__(self, run: Run, tick: Callable[[], None] = lambda: None) -> None:
        data = pairs(run.config.task, run.config.seed)
        self._batch = data.of(data.train)
        self._objective = Objective(run.config, *self._batch, shards=EVEN * -(-len(data.train) // (EVEN * SHARD)))
        self.tasks = run.config.task.operations
        self._weights, self._tick = np.ones(len(self.tasks)), tick
        self._theta = np.zeros(self._objective.size)

    def at(self, theta: Array, task: str | None = None) -> Curvature:
        """Go to a point (P,), and to the loss of one task or of all together; return self."""
        weights = np.array([1.0 if task in (None, each) else 0.0 for each in self.tasks])
        if not np.array_equal(weights, self._weights):
            self._objective.load(*self._batch, weights)
            self._weights = weights
        self._theta = theta
        return self

    def losses(self) -> Array:
        """Return each task's loss (n_tasks,) in nats."""
        return self._objective.losses(self._theta)

    def slope(self) -> float:
        """Return |gradient| in nats."""
        return float(np.linalg.norm(self._objective.grad(self._theta)))

    def hessian(self, v: Array) -> Array:
        """Return H v."""
        found = self._objective.hvp(self._theta, v)
        self._tick()
        return found

    def gauss_newton(self, v: Array) -> Array:
        """Return G v."""
        found = self._objective.ggn_vp(self._theta, v)
        self._tick()
        return found

    def rest(self, v: Array) -> Array:
        """Return (H - G) v."""
        found = self._objective.rest_vp(self._theta, v)
        self._tick()
        return found


@dataclass(frozen=True)
class End:
    """One end of a spectrum, from the outside inwards; nats.

    Attributes
    ----------
    values : (k,)           Ritz values; the outermost is never beyond the true end. None of them: not of interest
    residuals : (k,)        |A y - value y|: an eigenvalue lies within that distance (or 1e-15 of the largest: rounding)
    converged : (k,) bool   residual <= tolerance times |value|
    """

    values: Array
    residuals: Array
    converged: Array


@dataclass(frozen=True)
class Ends:
    """Both ends of the spectrum of one operator.

    Attributes
    ----------
    operator : str
    lowest, highest : End
    products : int
    task : str, optional    whose loss it is of; None: the sum
    """

    operator: str
    lowest: End
    highest: End
    products: int
    task: str | None = None


def exactly(value: float) -> End:
    """Return an end that is known without iterations."""
    return End(np.array([value]), np.zeros(1), np.ones(1, np.bool_))


def spectrum(
    product: Product, start: Array, steps: int, with_vectors: bool = False, until: float = 0.0
) -> dict[str, Array]:
    """Return what Lanczos says after `steps` products, or once the highest value is known to `until` of itself.

    Returns
    -------
    dict
        "values", "residuals" and "weights" (m,) of all Ritz values; "vectors" (P, 2) of the outermost two, if wanted.

    Notes
    -----
    Memory: `steps` vectors of length P, 0.24 GB for 100 at the paper's size.
    """

    def enough(t: krylov.Tridiagonal) -> bool:
        there = krylov.ritz(t)
        return bool(there.residuals[-1] <= until * abs(there.values[-1]))

    t = krylov.lanczos(product, start, steps, enough=enough if until else None)
    found = krylov.ritz(t, [0, -1] if with_vectors else [])
    arrays = {"values": found.values, "residuals": found.residuals, "weights": found.weights}
    return arrays | {"vectors": found.vectors} if with_vectors else arrays


def ends(
    operator: str, found: Mapping[str, Array], low: int, high: int, tolerance: float, task: str | None = None
) -> Ends:
    """Return the outermost `low` and `high` values of a `spectrum`."""
    values, residuals = found["values"], found["residuals"]
    good = residuals <= tolerance * np.abs(values)
    lowest, highest = [End(values[x], residuals[x], good[x]) for x in (slice(None, low), slice(None, -high - 1, -1))]
    return Ends(operator, lowest, highest, values.size, task)


def inside(product: Product, B: Array) -> Array:
    """Return B^T A B (K, K), symmetric to the last bit, from K products; B (P, K) orthonormal."""
    M = B.T @ np.stack([product(np.ascontiguousarray(b)) for b in B.T], axis=1)
    return (M + M.T) / 2  # type: ignore[no-any-return]


def project_out(B: Array, v: Array) -> Array:
    """Return (I - B B^T) v; B (P, K) orthonormal."""
    return v - B @ (B.T @ v)  # type: ignore[no-any-return]


def dense(basis: Basis) -> Array:
    """Return the basis (P, K) in one array."""
    return subspace.embed(basis.blocks, basis.size)


def random_like(basis: Basis, rng: np.random.Generator) -> Array:
    """Return a basis (P, K) with as many directions in each block, uniformly random there."""
    blocks = []
    for place, k in basis.places:
        block = rng.standard_normal((place.stop - place.start, k))
        blocks.append((subspace.orthonormal(block), place))
    return subspace.embed(blocks, basis.size)


@dataclass(frozen=True)
class Density:
    """Spectral density, one curve a probe.

    Attributes
    ----------
    relative : (n,)             lambda / largest |Ritz value|
    each : (probes, n)          eigenvalues per unit of asinh(relative / LINEAR); integrates to P
    resolved : (probes,)        share of the weight of each curve
    products : (probes,) int    behind each curve
    scale : float               the largest |Ritz value|, nats
    trace, error : float        sum of all eigenvalues by the same quadrature, and its standard error, nats
    """

    relative: Array
    each: Array
    resolved: Array
    products: Array
    scale: float
    trace: float
    error: float


def density(starts: Sequence[Mapping[str, Array]], size: int) -> Density | None:
    """Return the density from the `spectrum` of several random starts, or None for the zero operator."""
    scale = max(float(np.abs(start["values"]).max()) for start in starts)
    if scale == 0:
        return None
    products = np.array([start["values"].size for start in starts])
    m = products.max()
    values, weights = (
        np.array([np.pad(s[key], (0, m - s[key].size)) for s in starts]) for key in ("values", "weights")
    )
    nodes = np.arcsinh(values / scale / LINEAR)
    grid = np.linspace(nodes.min() - 4 * WIDTH, nodes.max() + 4 * WIDTH, GRID)
    curves = [
        krylov.Quadrature(node[None], weight[None], size).density(grid, WIDTH)
        for node, weight in zip(nodes, weights, strict=True)
    ]
    trace, error = krylov.Quadrature(values, weights, size).moment(lambda x: x)
    known = np.array([_resolved(start, scale) for start in starts])
    return Density(LINEAR * np.sinh(grid), size * np.array(curves), known, products, scale, trace, error)


def _resolved(start: Mapping[str, Array], scale: float) -> float:
    """Share of the weight whose bracket is no wider than a bump, 4 WIDTH."""
    values, residuals = start["values"], start["residuals"]
    x, low, high = (np.arcsinh(each / scale / LINEAR) for each in (values, values - residuals, values + residuals))
    beside = np.concatenate([x[:1], x, x[-1:]])  # an outermost value has one neighbour
    bracket = np.minimum(beside[2:] - beside[:-2], high - low)
    return float(start["weights"][bracket <= 4 * WIDTH].sum())


def groups(layout: Layout) -> dict[str, Array]:
    """Return masks (P,) that share all parameters out: embeddings, each layer's attention and MLP, norms, heads."""
    layers = sorted({name.split(".")[2] for name in layout.names if name.startswith("encoder.layers.")}, key=int)
    patterns = {"embeddings": ["pos_emb", "tok_emb.*"]}
    for layer in layers:
        patterns[f"L{layer} attention"] = [f"encoder.layers.{layer}.self_attn.*"]
        patterns[f"L{layer} MLP"] = [f"encoder.layers.{layer}.linear*"]
    patterns |= {"norms": ["*norm*"], "heads": ["heads.*"]}
    return {name: layout.group(each) for name, each in patterns.items()}
