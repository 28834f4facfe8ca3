"""The loss of a batch and its exact derivatives, as functions of theta.

Symbols
    CE_k mean cross-entropy of task k over the B pairs, z the logits, J = dz / dtheta their Jacobian
Formulas
    losses     CE_k(theta)
    loss       L = sum_k weight_k CE_k
    grad       dL / dtheta
    jvp        Rz = J v
    hvp        H v = d/ds grad(theta + s v) at s = 0, exactly, by the R-operator
    ggn_vp     G v = J^T (d2L / dz2) J v          (Gauss-Newton: H without the curvature of the network)
    rest_vp    (H - G) v = sum_i (dL / dz_i) (d2z_i / dtheta2) v, by the same passes as H v: no difference is taken
Source: Pearlmutter 1994 (R-operator); Schraudolph 2002 (Gauss-Newton products).

Cost in units of one forward pass: grad 3, hvp and rest_vp 8 for the first direction and 6 for each further one at the
same theta, because forward and backward passes are kept: several directions at once share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from scipy.sparse.linalg import LinearOperator

from minigrok.config import Config
from minigrok.engine import Array
from minigrok.errors import ConfigError, ShapeError
from minigrok.network.passes import passes
from minigrok.tasks import pairs


class HasConfig(Protocol):
    """What `Objective.of` needs of a run."""

    @property
    def config(self) -> Config:
        """Task, model and seed."""
        ...


class Objective:
    """Loss, gradient and exact products at (theta, batch, task weights).

    Parameters
    ----------
    config : Config
        Task and model.
    tokens : (B, T) int64
        Pairs, values in 0 .. p-1.
    targets : (n_tasks, B) int64
        True classes of each task, values in 0 .. p-1.
    task_weights : (n_tasks,), optional
        Weight of each task's mean loss in the total; default all 1 (the paper's sum).
    engine, shards : optional
        Default: those of `config.compute`.
    dtype : str
        Default "float64": exact work is done in double precision (our choice).
    threads : int, optional
        Default: all that the process may use. Never changes a result.

    Raises
    ------
    ShapeError
        Arrays that do not fit one another or the config.

    Examples
    --------
    >>> import numpy as np
    >>> from minigrok.config import preset
    >>> from minigrok.network.params import initial
    >>> config = preset("tiny")
    >>> tokens, targets = np.array([[1, 2], [3, 4]]), np.array([[3, 7], [2, 12]])
    >>> objective = Objective(config, tokens, targets, engine="plain")
    >>> theta = initial(config).astype(np.float64)
    >>> v = objective.grad(theta)
    >>> bool(v @ objective.hvp(theta, v) == v @ objective.hessian(theta).matvec(v))
    True
    """

    def __init__(
        self,
        config: Config,
        tokens: Array,
        targets: Array,
        task_weights: Array | None = None,
        *,
        engine: str | None = None,
        dtype: str = "float64",
        shards: int | None = None,
        threads: int | None = None,
    ) -> None:
        compute = config.compute
        self._net = passes(config, engine or compute.engine, dtype, shards or compute.shards, threads)
        self.dtype: np.dtype[Any] = np.dtype(dtype)  # of every array that goes in and comes out
        self.size = self._net.layout.size
        self.load(tokens, targets, task_weights)

    @classmethod
    def of(cls, run: HasConfig, part: str = "train", dtype: str = "float64") -> Objective:
        """Return the loss of all "train" or all "test" pairs of a run.

        Parameters
        ----------
        run : object with a `config`, such as a Run
        part : str     "train" or "test"
        dtype : str    of theta, directions and products
        """
        if part not in ("train", "test"):
            raise ConfigError('part "train" or "test"', repr(part), "choose one")
        data = pairs(run.config.task, run.config.seed)
        return cls(run.config, *data.of(getattr(data, part)), dtype=dtype)

    def load(self, tokens: Array, targets: Array, task_weights: Array | None = None) -> None:
        """Take another batch, of any size, and other task weights; arguments and errors as in the constructor."""
        config = self._net.config
        tokens, targets = np.asarray(tokens, np.int64), np.asarray(targets, np.int64)
        n_tasks = len(config.task.operations)
        weights = np.ones(n_tasks) if task_weights is None else np.array(task_weights, np.float64)
        _expect("tokens", tokens.shape, (max(len(tokens), 1), 2))
        _expect("targets", targets.shape, (n_tasks, len(tokens)))
        _expect("task_weights", weights.shape, (n_tasks,))
        _expect_classes("tokens", tokens, config.task.p)
        _expect_classes("targets", targets, config.task.p)
        self._losses: Array | None = None  # of the theta in the buffer; None: no pass was made there
        self._has_cotangents = False
        self._logits_shape = (n_tasks, len(tokens), config.task.p)
        self._net.task_weights = weights
        self._net.load(tokens, targets)

    def losses(self, theta: Array) -> Array:
        """Return the mean cross-entropy of each task, (n_tasks,) float64, in nats."""
        self._forward(theta)
        assert self._losses is not None
        return self._losses.copy()

    def loss(self, theta: Array) -> float:
        """Return the weighted sum of the tasks' losses, in nats."""
        return float(self._net.task_weights @ self.losses(theta))

    def grad(self, theta: Array, out: Array | None = None) -> Array:
        """Return the gradient (P,) of `loss`."""
        self._forward(theta)
        out = self._out(out)
        self._net.backward(out)
        self._has_cotangents = True
        return out

    def hvp(self, theta: Array, v: Array, out: Array | None = None) -> Array:
        """Return the Hessian of `loss` times v: (P,), or (P, k) for k directions at once."""
        self._backward(theta)
        return self._products(self._net.hvp, v, out)

    def ggn_vp(self, theta: Array, v: Array, out: Array | None = None) -> Array:
        """Return the Gauss-Newton matrix of `loss` times v: (P,), or (P, k) for k directions at once."""
        self._forward(theta)
        return self._products(self._net.ggn_vp, v, out)

    def rest_vp(self, theta: Array, v: Array, out: Array | None = None) -> Array:
        """Return what the Gauss-Newton matrix leaves of the Hessian of `loss`, times v: (P,), or (P, k)."""
        self._backward(theta)
        return self._products(self._net.rest_vp, v, out)

    def jvp(self, theta: Array, v: Array) -> Array:
        """Return the directional derivative of the logits along v (P,): (n_tasks, B, V)."""
        self._forward(theta)
        self._set_direction(v)
        out = np.empty(self._logits_shape, self.dtype)
        self._net.jvp(out)
        return out

    def hessian(self, theta: Array, groups: Iterable[str] | None = None) -> LinearOperator:
        """Return the Hessian at theta as an operator.

        Parameters
        ----------
        theta : (P,)
        groups : patterns of parameter names, optional
            Restrict rows and columns to these parameters: ["heads.*"], ["encoder.layers.0.*", "*.bias"], ...
        """
        return self._operator(self.hvp, theta, groups)

    def ggn(self, theta: Array, groups: Iterable[str] | None = None) -> LinearOperator:
        """Return the Gauss-Newton matrix at theta as an operator; `groups` as in `hessian`."""
        return self._operator(self.ggn_vp, theta, groups)

    def _operator(
        self, product: Callable[[Array, Array], Array], theta: Array, groups: Iterable[str] | None
    ) -> LinearOperator:
        self._expect_point(theta)
        theta, free = np.array(theta, self.dtype), self._free(groups)

        def apply(v: Array) -> Array:
            return product(theta, self._embed(v, free))[free]

        shape = (free.size, free.size)
        both = {"matvec": apply, "rmatvec": apply, "matmat": apply, "rmatmat": apply}
        return LinearOperator(shape, **both, dtype=self.dtype)

    def _free(self, groups: Iterable[str] | None) -> Array:
        """Numbers of the parameters in the groups."""
        if groups is None:
            return np.arange(self.size)
        return np.flatnonzero(self._net.layout.group(groups))

    def _embed(self, v: Array, free: Array) -> Array:
        """v (n,) or (n, k) at the free parameters, 0 elsewhere."""
        full = np.zeros((self.size, *v.shape[1:]), self.dtype)
        full[free] = v
        return full

    def _forward(self, theta: Array) -> None:
        """Make the forward pass at theta, unless the last one was there."""
        self._expect_point(theta)
        buffer = self._net.theta
        if self._losses is None or not np.array_equal(np.asarray(theta, self.dtype), buffer):
            buffer[:] = theta
            self._losses = None
            self._losses = self._net.forward()
            self._has_cotangents = False

    def _backward(self, theta: Array) -> None:
        """Make both passes at theta, unless the last ones were there."""
        self._forward(theta)
        if not self._has_cotangents:
            self._net.backward(None)
            self._has_cotangents = True

    def _expect_point(self, theta: Array) -> None:
        found = np.asarray(theta).dtype
        if found.kind not in "fiu":
            raise ShapeError("theta of real numbers", f"dtype {found}", "take Run.theta, or an array of floats")
        _expect("theta", np.shape(theta), (self.size,))

    def _products(self, product: Callable[[Array], None], v: Array, out: Array | None) -> Array:
        columns = np.shape(v)[1:]  # none, or (k,)
        out = self._out(out, columns)
        if not columns:
            self._set_direction(v)
            product(out)
            return out
        for j, one in enumerate(np.transpose(v)):
            out[:, j] = self._products(product, one, None)
        return out

    def _set_direction(self, v: Array) -> None:
        _expect("v", np.shape(v), (self.size,))
        self._net.direction[:] = v

    def _out(self, out: Array | None, columns: tuple[int, ...] = ()) -> Array:
        if out is None:
            return np.empty((self.size, *columns), self.dtype)
        _expect("out", out.shape, (self.size, *columns))
        return out


def _expect(name: str, got: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if tuple(got) != tuple(shape):
        raise ShapeError(f"{name} of shape {tuple(shape)}", f"{tuple(got)}", "use arrays of this config and batch")


def _expect_classes(name: str, values: Array, p: int) -> None:
    if values.size and (values.min() < 0 or values.max() >= p):
        raise ShapeError(f"{name} in 0 .. {p - 1}", f"{values.min()} .. {values.max()}", "use the task of this config")
