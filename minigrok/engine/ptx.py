"""PTX without a device: an engine that computes nothing and notes each launch, and the PTX of a kernel.

The CUDA toolkit's compiler must be there (`device.require_compiler`), a driver need not.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
from numba import cuda

from minigrok.engine import Array, Calls
from minigrok.engine.cuda import CudaEngine
from minigrok.engine.stack import Stack

Launch = tuple[Callable[..., None], tuple[Any, ...]]  # a kernel's Python function, and the types of its arguments


class Memory(np.ndarray[Any, Any]):
    """A device array that is on the host: sizes and strides are all that is asked of it."""

    def copy_to_device(self, values: Array) -> None:
        """Take values."""
        self[...] = values

    def copy_to_host(self) -> Array:
        """Return the values."""
        return np.array(self)

    def is_c_contiguous(self) -> bool:
        """Whether it is a whole."""
        return bool(self.flags.c_contiguous)


class Noting(CudaEngine):
    """An engine that notes launches."""

    def __init__(self, dtype: Any, replicas: int) -> None:
        super().__init__(dtype, replicas)
        self.launches: dict[Launch, None] = {}  # in the order of their first appearance

    def _require_device(self) -> None:
        pass

    def graph(self, calls: Calls) -> Callable[[], None]:
        """Return what makes the calls again: nothing."""
        return lambda: None

    def _allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Stack:
        return Stack(np.zeros((self.replicas, *shape), dtype).view(Memory))

    def _call(self, function: Callable[..., Any], *args: Any) -> None:
        kernel, _, _, *values = args
        types = tuple(numba.typeof(np.asarray(x) if isinstance(x, Memory) else x) for x in values)
        self.launches[kernel.py_func, types] = None
        if self._calls is not None:
            self._calls.append((function, args))


def ptx(launch: Launch, capability: tuple[int, int]) -> str:
    """Return the PTX of a kernel.

    numba-cuda asks the current device for its capability when a kernel calls a function; here there may be no device.
    """
    from numba.cuda import dispatcher

    real, dispatcher.get_current_device = (
        dispatcher.get_current_device,
        lambda: SimpleNamespace(compute_capability=capability),
    )
    try:
        return str(cuda.compile_ptx(*launch, cc=capability)[0])
    finally:
        dispatcher.get_current_device = real
