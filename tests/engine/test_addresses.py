"""Where arrays lie in memory decides no bit: each body gives the same wherever malloc put its arguments.

LLVM compiles a loop that reads one array and writes another twice, and chooses at run time by their distance. So each
body runs on arrays close together, in many orders and at many distances, and far apart.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from row_bodies import bodies, four_maps

from minigrok.config import Optimiser
from minigrok.engine import Array, Engine, portable
from minigrok.engine.cpu import CpuEngine
from minigrok.gradcheck.cases import CASES, Sizes
from minigrok.gradcheck.laws import draw, tree_map
from minigrok.layers import LAYERS, cross_entropy
from minigrok.network.evaluation import is_correct
from minigrok.training.optim import AdamW, norm
from minigrok.training.planes import Plane

Call = tuple[Callable[..., None], int, tuple[Any, ...]]
FAR = 4096  # bytes between arrays that no vector reaches across
GAPS = (0, 8, 16, 24, 40, 72)
SIZES = (
    Sizes(),
    Sizes(B=1, V=7, H=1, K=1, F=1, L=1),
    Sizes(B=4, V=13, H=2, K=4, F=16, L=1),
    Sizes(B=2, V=31, H=1, K=9, F=20, L=1),
    Sizes(B=1, V=97, H=2, K=16, F=70, L=1),
)


def place(a: Array) -> tuple[Any, ...]:
    """The same for one array that is given twice."""
    return a.__array_interface__["data"][0], a.shape, a.dtype


class Recorder(CpuEngine):
    """The CPU engine, which notes every body with its arguments as they are before it runs."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        self.calls: list[Call] = []

    def rows(self, body: Callable[..., None], n: int, *args: Any) -> None:
        copies = {place(a): a.copy() for a in args if isinstance(a, np.ndarray)}
        kept = [copies[place(a)] if isinstance(a, np.ndarray) else a for a in args]
        self.calls.append((body, n, tuple(kept)))
        super().rows(body, n, *args)


def recorded(sizes: Sizes, dtype: str) -> list[Call]:
    """Every body of the layers, the optimiser, the projector and the evaluation, on some small arrays."""
    engine, rng = Recorder(dtype), np.random.default_rng(0)

    def cast(a: Array) -> Array:
        return a.astype(dtype)

    for make_case in CASES.values():
        case = make_case(rng, sizes)
        z = tree_map(cast, case.z)
        y = case.value(Engine(dtype), z)[0]
        four_maps(case, engine, z, *(tree_map(cast, draw(rng, tree)) for tree in (z, y, y)))
    for n in (sizes.V, 5, 8, 9, 13):  # around the lengths of vectors
        others(engine, rng, n)
    return engine.calls


def others(engine: Recorder, rng: np.random.Generator, n: int) -> None:
    theta, g, out = rng.standard_normal((3, n)).astype(engine.dtype)
    adamw = AdamW(Optimiser(), engine, n)
    adamw.step(theta, g, norm(engine, g))
    norm(engine, (g * np.finfo(engine.dtype).tiny ** 0.6).astype(engine.dtype))  # squares that underflow
    adamw.update(out)
    plane = Plane(engine, np.linalg.qr(rng.standard_normal((n, min(n, 3))))[0].T)
    for target in (out, g):
        plane.mix(0.5, -1.5, plane.coordinates(g), g, target)
    logits = rng.standard_normal((4, n)).astype(engine.dtype)
    target, correct = rng.integers(0, n, 4), np.empty(4, np.bool_)
    engine.rows(is_correct, 4, logits, target, correct)
    for rows in (1, 4):
        _, tape = cross_entropy.forward(engine, logits[:rows], target[:rows], saturating=rows == 1)
        cross_entropy.r_forward(engine, tape, logits[:rows])


def placements(count: int) -> Iterator[tuple[list[int], int]]:
    """Orders of arrays in memory, and bytes between them; the first is far apart."""
    there, rng = list(range(count)), np.random.default_rng(count)
    yield there, FAR
    for gap in GAPS:
        yield there, gap
        yield there[::-1], gap
        yield rng.permutation(count).tolist(), gap


def run(call: Call, order: list[int], gap: int) -> list[bytes]:
    """Bytes of all arrays after the body ran on copies in one buffer, in this order."""
    body, n, args = call
    arrays = list({id(a): a for a in args if isinstance(a, np.ndarray)}.values())
    buffer = np.zeros(sum(a.nbytes + gap + 8 for a in arrays) + 64, np.uint8)
    start, moved = -buffer.__array_interface__["data"][0] % 64, {}
    for i in order:
        array = arrays[i]
        start += -start % 8
        here = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        here[...] = array
        moved[id(array)], start = here, start + array.nbytes + gap
    CpuEngine(np.float64).rows(body, n, *(moved.get(id(a), a) for a in args))
    return [moved[id(array)].tobytes() for array in arrays]


def differing(calls: list[Call]) -> set[str]:
    """Names of the bodies that gave other bits somewhere."""
    found = set()
    for call in calls:
        count = len({id(a) for a in call[2] if isinstance(a, np.ndarray)})
        results = [run(call, *where) for where in placements(count)]
        if any(result != results[0] for result in results):
            found.add(f"{call[0].__module__}.{call[0].__name__}")
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_no_body_depends_on_where_its_arrays_lie(sizes: Sizes, dtype: str) -> None:
    assert differing(recorded(sizes, dtype)) == set()


@pytest.mark.slow
@pytest.mark.skipif(portable.in_force(), reason="this is the process with the other instructions")
def test_nor_in_portable_mode() -> None:
    """Other instructions, other vectors: the tests of this file in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=os.environ | portable.SETTINGS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_these_are_all_bodies() -> None:
    modules = [f"minigrok.layers.{layer.name}" for layer in LAYERS] + ["minigrok.layers.sums"]
    modules += ["minigrok.network.evaluation", "minigrok.training.optim", "minigrok.training.planes"]
    expected = set().union(*map(bodies, modules))
    assert len(expected) > 20
    assert {body for body, _, _ in recorded(SIZES[0], "float64")} == expected


def writes_and_sums(lo: int, hi: int, x: Array, y: Array, total: Array) -> None:
    """What no body may be: its sum is vectorised only where y lies far from x."""
    for i in range(lo, hi):
        both = x.dtype.type(0)
        for c in range(x.shape[1]):
            y[i, c] = x[i, c] * x[i, c]
            both += y[i, c]
        total[i] = both


def test_a_loop_that_writes_and_sums_is_caught() -> None:
    """At one of these widths; the length of a vector, and so the width, is the machine's."""
    calls: list[Call] = []
    for width in (4, 5, 8, 13, 16):
        x = np.random.default_rng(0).standard_normal((3, width)).astype(np.float32)
        calls.append((writes_and_sums, 3, (x, np.empty_like(x), np.empty(3, np.float32))))
    assert differing(calls) == {f"{__name__}.writes_and_sums"}
