"""Lesson 4: the directions of a LayerNorm's input along which its Hessian is 0."""

from collections.abc import Iterator

import numpy as np

from minigrok.engine import Array, open_engine
from minigrok.gradcheck.laws import draw
from minigrok.layers import layernorm
from minigrok.layers.layernorm import Norm
from minigrok.lessons.findings import Finding, Names, array, call

SUFFIX = ".py"
N, D = 4, 6
SMALL = 1e-9  # relative to a random direction; rounding alone gives 1e-15

START = '''"""Lesson 4. Along which directions of its input does a LayerNorm never curve the loss, whatever it is?"""

import numpy as np


def null_directions(x):
    """Return an array (N, N, D): N directions, each of the shape of x (N, D), along which H v = 0.

    There is one for each row of x, so make direction j from row j: all of its other rows are 0.
    """
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield what the R-maps of minigrok's LayerNorm say of each direction."""
    rng, engine = np.random.default_rng(4), open_engine("plain", "float64")
    w, x, dy = (
        Norm(rng.standard_normal(D), rng.standard_normal(D)),
        rng.standard_normal((N, D)),
        rng.standard_normal((N, D)),
    )
    why = "N directions of the shape of x: one direction for each row"
    found = array("null_directions", call(names, "null_directions", x.copy()), (N, N, D), why)
    sizes = np.linalg.norm(found.reshape(N, -1), axis=1)
    holds = bool((sizes > 1e-6).all())
    yield Finding("no direction is 0", holds, f"shortest {sizes.min():.2g}", "" if holds else "0 is no direction")
    rank = int(np.linalg.matrix_rank(found.reshape(N, -1)))
    hint = "the same direction again: each row is normalised by itself, so each row has a direction of its own"
    yield Finding("N independent directions", rank == N, f"{rank} of {N}", "" if rank == N else hint)
    other = _along(engine, w, x, dy, draw(rng, x))
    scale = [np.linalg.norm(part) / np.sqrt(N * D) for part in other]
    moved = [_along(engine, w, x, dy, v / max(size, 1e-300)) for v, size in zip(found, sizes, strict=True)]
    for law, part in (("y does not change: J v = 0", 0), ("the gradient does not change: H v = 0", 1)):
        worst = max(float(np.linalg.norm(each[part]) / scale[part]) for each in moved)
        hint = "" if worst <= SMALL else _meaning(found, x, part)
        yield Finding(law, worst <= SMALL, f"{worst:.1e}", hint)


def _along(engine: object, w: Norm, x: Array, dy: Array, v: Array) -> tuple[Array, Array]:
    """Return J v and H v of the LayerNorm without eps, of which the loss is <dy, y>: two of the four maps."""
    zero = Norm(np.zeros(D), np.zeros(D))
    _, tape = layernorm.forward(engine, w, x, 0.0)  # type: ignore[arg-type]
    _, dtape = layernorm.backward(engine, w, tape, dy, Norm(np.zeros(D), np.zeros(D)))  # type: ignore[arg-type]
    Ry, rtape = layernorm.r_forward(engine, w, tape, zero, v)  # type: ignore[arg-type]
    Rdw = Norm(np.zeros(D), np.zeros(D))
    Rdx = layernorm.r_backward(engine, w, tape, dtape, zero, rtape, np.zeros_like(dy), Rdw)  # type: ignore[arg-type]
    return Ry.copy(), Rdx.copy()


def _meaning(found: Array, x: Array, part: int) -> str:
    flat, rows = found.reshape(N, -1), [np.where(np.arange(N)[:, None] == j, x, 0).ravel() for j in range(N)]
    centred = [np.where(np.arange(N)[:, None] == j, x - x.mean(1, keepdims=True), 0).ravel() for j in range(N)]
    if all(_parallel(v, row) or _parallel(v, mid) for v, row, mid in zip(flat, rows, centred, strict=True)):
        return "a longer row has the same y, but a smaller gradient (r dy): J v = 0, and H v is minus the gradient"
    if any(np.ptp(found[j, :, c]) == 0 and found[j, 0, c] for j in range(N) for c in range(D)):
        return "a column is moved: the mean is over the channels of a row, so move all channels of one row alike"
    if part == 1:
        return "y stays and the gradient does not: a direction may leave the map and still bend it"
    return "what does the mean take away from each row? Add that, the same number to all channels of one row"


def _parallel(a: Array, b: Array) -> bool:
    return bool(abs(a @ b) >= (1 - 1e-9) * np.linalg.norm(a) * np.linalg.norm(b))
