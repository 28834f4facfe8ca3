"""AdamW with decoupled weight decay, and clipping by the global norm of the gradient.

Formulas (t = 1, 2, ... the step; all element by element but the norm)
    g      <- g min(1, clip / (|g| + 1e-6))
    theta  <- theta (1 - lr wd)
    m      <- beta1 m + (1 - beta1) g
    v      <- beta2 v + (1 - beta2) g^2
    theta  <- theta - lr / (1 - beta1^t)  m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
The decay acts on every parameter: embeddings, gains and biases too. A frozen parameter keeps its theta; its g counts as
0, also in |g|, and its m as 0.
Source: Loshchilov & Hutter 2019, algorithm 2; the 1e-6 and the place of eps as in PyTorch 2 (clip_grad_norm_, AdamW).
"""

import math
from typing import Any

import numpy as np

from minigrok.config import Optimiser
from minigrok.engine.base import Array, Engine

CLIP_EPS = 1e-6  # PyTorch's clip_grad_norm_
CHUNK = 1024  # elements of a row of work, summed in the working precision before float64 takes over: our choice


def sum_of_squares(lo: int, hi: int, g: Array, chunk: int, sums: Array) -> None:
    """sums_i = sum of g^2 over the i-th chunk."""
    for i in range(lo, hi):
        part = g[i * chunk : (i + 1) * chunk]
        total = g.dtype.type(0)
        for c in range(part.size):
            total += part[c] * part[c]
        sums[i] = total


def length(x: Array) -> float:
    """Return |x| = top |x / top|, top = max |x_i|: right also where squares leave the range; NaN if x is not finite."""
    real = x.dtype.type
    top, total = real(0), real(0)
    for i in range(x.size):
        top = max(top, abs(x[i]))
    if top == real(0):  # or NaN alone
        top = real(1)
    for i in range(x.size):
        total += (x[i] / top) * (x[i] / top)
    return top * real(math.sqrt(total))  # type: ignore[no-any-return]


def lengths(lo: int, hi: int, g: Array, chunk: int, sums: Array, least: float, sizes: Array) -> None:
    """sizes_i = |g| over the i-th chunk: the root of its sum of squares, unless that is below `least` or too large."""
    for i in range(lo, hi):
        if g.dtype.type(least) <= sums[i] and math.isfinite(sums[i]):
            sizes[i] = math.sqrt(sums[i])
        else:
            sizes[i] = length(g[i * chunk : (i + 1) * chunk])


def step_chunks(
    lo: int,
    hi: int,
    g: Array,
    chunk: int,
    scale: float,
    beta1: float,
    beta2: float,
    gain1: float,
    gain2: float,
    keep: float,
    step: float,
    root: float,
    eps: float,
    m: Array,
    v: Array,
    theta: Array,
) -> None:
    """One step on the chunks lo .. hi-1; each of the three loops vectorises, and a chunk stays in the cache.

    The numbers are those of `factors`; `scale` is that of the clipping, min(1, clip / (|g| + 1e-6)).
    """
    real = g.dtype.type
    c, b1, b2, a1, a2 = real(scale), real(beta1), real(beta2), real(gain1), real(gain2)
    k, s, r, e = real(keep), real(step), real(root), real(eps)
    for i in range(lo, hi):
        here = slice(i * chunk, (i + 1) * chunk)
        g_i, m_i, v_i, theta_i = g[here], m[here], v[here], theta[here]
        # m <- beta1 m + (1 - beta1) (scale g)
        for j in range(g_i.size):
            m_i[j] = b1 * m_i[j] + a1 * (c * g_i[j])
        # v <- beta2 v + (1 - beta2) (scale g)^2
        for j in range(g_i.size):
            v_i[j] = b2 * v_i[j] + a2 * (c * g_i[j]) * (c * g_i[j])
        # theta <- theta (1 - lr wd) - lr / (1 - beta1^t)  m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
        for j in range(g_i.size):
            theta_i[j] = k * theta_i[j] - s * m_i[j] / (math.sqrt(v_i[j]) * r + e)


def chunks(g: Array) -> int:
    """Return how many rows of work a vector makes."""
    return -(-g.size // CHUNK)


def least_sum(size: int, dtype: Any) -> float:
    """Return what the squares of `size` numbers must add up to, so that those that underflow do not count."""
    return size * float(np.finfo(dtype).tiny)


def has_square(size: float, dtype: Any) -> bool:
    """Return whether the square of a norm is a number of `dtype`: then every second moment is."""
    return size < math.sqrt(float(np.finfo(dtype).max))


def norm(engine: Engine, g: Array) -> float:
    """Return |g| (float64), in a fixed order of summation; inf or nan where g holds them."""
    sums = np.empty(chunks(g), g.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        engine.rows(sum_of_squares, sums.size, g, CHUNK, sums)
        total = float(np.sum(sums, dtype=np.float64))
        if least_sum(g.size, g.dtype) <= total < math.inf:
            return math.sqrt(total)
        sizes = np.empty_like(sums)
        engine.rows(lengths, sizes.size, g, CHUNK, sums, least_sum(CHUNK, g.dtype), sizes)
        return float(length(sizes.astype(np.float64)))


def factors(settings: Optimiser, t: int) -> tuple[float, ...]:
    """Return beta1, beta2, 1 - beta1, 1 - beta2, keep, step, root, eps of `step_chunks` at step t.

    keep = 1 - lr wd, step = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t).
    """
    s = settings
    keep, step = 1 - s.decay_rate, s.learning_rate / (1 - s.beta1**t)
    return s.beta1, s.beta2, 1 - s.beta1, 1 - s.beta2, keep, step, 1 / math.sqrt(1 - s.beta2**t), s.eps


class Frozen:
    """Parameters that stand still: what is done before the norm of the gradient, and after the step.

    Parameters
    ----------
    settings : Optimiser
    mask : (P,) bool
        Which ones; from which step on, the settings say.
    """

    def __init__(self, settings: Optimiser, mask: Array) -> None:
        self.settings, self.places = settings, np.flatnonzero(mask)

    def before(self, step: int, g: Array, theta: Array) -> Array | None:
        """Write 0 into g (P,) at the parameters that stand still at a step, and return their theta; None: none does."""
        if not self.settings.freezes(step):
            return None
        g[self.places] = 0
        return theta[self.places]

    def after(self, kept: Array | None, theta: Array, m: Array) -> None:
        """Undo what the step did to them."""
        if kept is not None:
            theta[self.places], m[self.places] = kept, 0


class Moments:
    """The optimiser's state: first and second moments m, v (P,) and the number of `steps` taken."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.m, self.v = np.zeros(size, dtype), np.zeros(size, dtype)
        self.steps = 0


class AdamW(Moments):
    """The optimiser: its state, and the step.

    Parameters
    ----------
    settings : Optimiser
        Learning rate, decay, betas, eps, clipping norm.
    engine : Engine
        Runs the bodies; its dtype is that of the moments.
    size : int
        Number of parameters P.
    """

    def __init__(self, settings: Optimiser, engine: Engine, size: int) -> None:
        super().__init__(size, engine.dtype)
        self.settings, self.engine = settings, engine

    def step(self, theta: Array, g: Array, size: float) -> None:
        """Update theta (P,) in place with the unclipped gradient g (P,) of norm `size`."""
        s = self.settings
        scale = min(1.0, s.clip_norm / (size + CLIP_EPS))
        self.steps += 1
        self.engine.rows(step_chunks, chunks(g), g, CHUNK, scale, *factors(s, self.steps), self.m, self.v, theta)

    def update(self, out: Array) -> None:
        """Write the last step's displacement of theta without the decay, -lr / ..., into out (P,): no state changes.

        It is the step itself, from 0, with betas of 1 and gains of 0, which keep the moments.
        """
        _, _, _, _, _, *rest = factors(self.settings, self.steps)
        out[:] = 0
        kept = (1.0, 1.0, 1.0, 0.0, 0.0, 1.0, *rest)
        self.engine.rows(step_chunks, chunks(out), self.m, CHUNK, *kept, self.m, self.v, out)
