"""What a layer may ask of an engine, and the plain engine itself.

Two ways to compute, one way to get memory, one way to do it all again:

    rows(body, n, *args)    body(lo, hi, *args) for the rows 0 <= lo < hi <= n. A body reads anything and
                            writes only its own rows of its outputs, so every output element has one
                            writer: no atomics, and the result does not depend on who runs which rows.
    matmul(a, b, out)       out = a b
    empty(*shape)           an array from the workspace; rewind(mark) takes back all handed out since mark
    record(work)            do `work()` and keep the list of its calls; `replay` makes them again

The workspace makes a training step free of allocation: a pass that asks for the same shapes again, after
a rewind, gets the same memory again, and a layer still reads like a function that returns new arrays.

What a pass over a batch does with that memory depends on sizes alone. So the calls of one pass, kept in a list, are the
next pass too, once its inputs are written where those of the first were: a step without the Python between the calls.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Body = Callable[..., None]
Calls = list[tuple[Callable[..., Any], tuple[Any, ...]]]


class Engine:
    """The plain engine: ordinary Python, slow and debuggable. Other engines override `kernel`, or `rows` and `matmul`.

    Parameters
    ----------
    dtype : str or dtype
        float32 or float64, the type of the workspace.
    """

    name = "plain"

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._free: dict[tuple[int, ...], list[Array]] = defaultdict(list)
        self._used: list[Array] = []
        self._calls: Calls | None = None  # of the recording, if one is on

    def rows(self, body: Body, n: int, *args: Any) -> None:
        """Run `body` over the rows 0 .. n-1."""
        self.part(body, 0, n, *args)

    def part(self, body: Body, lo: int, hi: int, *args: Any) -> None:
        """Run `body` over the rows lo .. hi-1."""
        self._call(self.kernel(body), lo, hi, *args)

    def kernel(self, body: Body) -> Callable[..., Any]:
        """Return what this engine runs for `body`."""
        return body

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """out (M, N) = a (M, K) b (K, N)."""
        self._call(np.matmul, a, b, out)

    def _call(self, function: Callable[..., Any], *args: Any) -> None:
        if self._calls is not None:
            self._calls.append((function, args))
        function(*args)

    def record(self, work: Callable[[], None]) -> Calls:
        """Do `work()` and return its calls of kernels and products, in their order, for `replay`."""
        calls: Calls = []
        self._calls = calls
        try:
            work()
        finally:
            self._calls = None
        return calls

    def graph(self, calls: Calls) -> Callable[[], None]:
        """Return a function that makes the calls of a recording again, as fast as the engine can."""
        return lambda: replay(calls)

    def empty(self, *shape: int) -> Array:
        """Return an uninitialised array that belongs to the caller until the next rewind past it."""
        free = self._free[shape]
        array = free.pop() if free else self._new(shape)
        self._used.append(array)
        return array

    def _new(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, self.dtype)

    def mark(self) -> int:
        """Return the present state of the workspace, for `rewind`."""
        return len(self._used)

    def rewind(self, mark: int = 0) -> None:
        """Take back every array handed out since `mark`: they will be handed out again."""
        while len(self._used) > mark:
            array = self._used.pop()
            self._free[array.shape].append(array)

    def release(self) -> None:
        """Forget all memory that was handed out or taken back: what nobody holds is freed."""
        self._free.clear()
        self._used.clear()


def replay(calls: Calls) -> None:
    """Make the calls of a recording again, on the same arrays."""
    for function, args in calls:
        function(*args)
