"""The CUDA engine: the layers' own functions compiled by numba.cuda, for R replicas at once.

    rows(body, n, *args)    one thread a row and replica: body(i, i + 1, *args of replica r)
    matmul(a, b, out)       tiles in shared memory (`cuda_products`), a block a tile and replica

A body owns the rows that it writes, so no two threads write one element: no atomics, and the bits depend neither on how
threads are scheduled nor on R. math.exp, math.erf and the like become the device's own library functions.

Numbers among the arguments are rounded to the engine's dtype on the host, so that a float32 kernel holds no float64.
"""

import os
from collections.abc import Callable
from functools import cache, partial
from types import FunctionType
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.core import config as numba_config

from minigrok.engine import device
from minigrok.engine.base import Array, Body, Calls, Engine, replay
from minigrok.engine.cuda_products import DEVICE, SIMULATOR, product
from minigrok.engine.stack import Stack
from minigrok.errors import EngineError, ShapeError

numba_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # one run cannot fill a device: known, and no news at each launch

THREADS = 128  # of a block of rows: our choice, not yet measured
MOST_BLOCKS = 1024  # along the rows; a thread takes every so-many-th row beyond
MOST_REPLICAS = 65535  # of a grid's second and third axis


class CudaEngine(Engine):
    """Kernels on the device's default stream; its arrays are Stacks of R replicas.

    Parameters
    ----------
    dtype : str or dtype
        float32 or float64.
    replicas : int
        R.
    """

    name = "cuda"

    def __init__(self, dtype: Any, replicas: int = 1) -> None:
        self._require_device()
        if not 1 <= replicas <= MOST_REPLICAS:
            raise EngineError(f"1 .. {MOST_REPLICAS} replicas", str(replicas), "take fewer with --replicas N")
        super().__init__(dtype)
        self.replicas = replicas
        self._tiles = SIMULATOR if device.simulated() else DEVICE
        self._threads, self._blocks = (2, 2) if device.simulated() else (THREADS, MOST_BLOCKS)

    def rows(self, body: Body, n: int, *args: Any) -> None:
        """Run `body` over the rows 0 .. n-1 of every replica."""
        if n == 0:
            return
        stacked = tuple(isinstance(each, Stack) for each in args)
        blocks = min(-(-n // self._threads), self._blocks)
        values = [each.data if isinstance(each, Stack) else self._number(each) for each in args]
        self._call(_launch, row_kernel(body, stacked), (blocks, self.replicas), self._threads, n, *values)

    def part(self, body: Body, lo: int, hi: int, *args: Any) -> None:
        """Rows are not divided among threads of the host here: `rows` does them all."""
        raise NotImplementedError(f"{self.name} runs rows 0 .. n-1, not {lo} .. {hi - 1}")

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """out (M, N) = a (M, K) b (K, N), in every replica."""
        assert isinstance(a, Stack)
        assert isinstance(b, Stack)
        assert isinstance(out, Stack)
        M, N = out.shape
        if out.transposed or (a.shape, b.shape) != ((M, a.shape[1]), (a.shape[1], N)):
            raise ShapeError("matrices (M, K), (K, N), (M, N)", f"{a.shape}, {b.shape}, {out.shape}", "match them")
        kernel = product_kernel(self.dtype.type, a.transposed, b.transposed, self._tiles)
        grid = (-(-N // self._tiles.tile), -(-M // self._tiles.tile), self.replicas)
        self._call(_launch, kernel, grid, (self._tiles.threads,) * 2, a.data, b.data, out.data)

    def graph(self, calls: Calls) -> Callable[[], None]:
        """Return a function that makes the calls of a recording again; see `graph`."""
        return graph(calls)

    def stack(self, values: Array) -> Any:
        """Return a Stack with a copy of values (R, *shape), in their dtype."""
        stack = self.zeros(values.shape[1:], values.dtype)
        stack[:] = values
        return stack

    def zeros(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Return a Stack of zeros."""
        stack = self._allocate(shape, np.dtype(dtype or self.dtype))
        stack[:] = 0
        return stack

    def _require_device(self) -> None:
        device.require()

    def _new(self, shape: tuple[int, ...]) -> Any:
        return self._allocate(shape, self.dtype)

    def _allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Stack:
        full = (self.replicas, *shape)
        try:
            return Stack(cuda.device_array(full, dtype))
        except Exception as error:  # the driver's error has another class in each version of numba-cuda
            if "OUT_OF_MEMORY" in str(error) or isinstance(error, MemoryError):
                raise device.out_of_memory(self.replicas, int(np.prod(full)) * dtype.itemsize) from error
            raise

    def _number(self, value: Any) -> Any:
        """A number as a kernel takes it; a NumPy array has no place on the device."""
        if isinstance(value, bool | np.bool_):
            return bool(value)
        if isinstance(value, int | np.integer):
            return int(value)
        if isinstance(value, float | np.floating):
            return self.dtype.type(value)
        raise TypeError(f"a Stack or a number, not {type(value).__name__}")


class HostedCuda(Engine):
    """The CUDA engine on the host's own arrays: each call carries its arrays there and back.

    Slow, and everything that runs on arrays of NumPy runs on it unchanged: `minigrok check`, and the tests, which
    hold it against the plain engine call by call.

    Parameters
    ----------
    dtype : str or dtype
    others : int
        Further replicas that run beside this one on NaNs: nothing of theirs may come through.
    """

    name = "cuda"

    def __init__(self, dtype: Any, others: int = 0) -> None:
        super().__init__(dtype)
        self.machine = CudaEngine(dtype, 1 + others)

    def part(self, body: Body, lo: int, hi: int, *args: Any) -> None:
        """Run `body` over the rows lo .. hi-1, of which lo must be 0."""
        if lo:
            raise NotImplementedError("rows from 0 on")
        self._call(self._there_and_back, "rows", (body, hi), *args)

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """out (M, N) = a (M, K) b (K, N)."""
        self._call(self._there_and_back, "matmul", (), a, b, out)

    def _there_and_back(self, method: str, first: tuple[Any, ...], *args: Any) -> None:
        arrays = {id(each): each for each in args if isinstance(each, np.ndarray)}
        stacks = {key: self._there(each) for key, each in arrays.items()}
        getattr(self.machine, method)(*first, *(stacks.get(id(each), each) for each in args))
        for key, each in arrays.items():
            if each.flags.writeable:
                each[...] = stacks[key].host()[0]

    def _there(self, array: Array) -> Any:
        turned = array.ndim == 2 and not array.flags.c_contiguous and array.T.flags.c_contiguous
        array = array.T if turned else array
        stack = self.machine.zeros(array.shape, array.dtype)
        full = np.zeros((self.machine.replicas, *array.shape), array.dtype)
        if array.dtype.kind == "f":
            full[1:] = np.nan
        full[0] = array
        stack[:] = full
        return stack.T if turned else stack


def _launch(kernel: Any, grid: Any, block: Any, *args: Any, stream: Any = 0) -> None:
    kernel[grid, block, stream](*args)


def graph(calls: Calls) -> Callable[[], None]:
    """Return a function that makes the calls of a recording again: one launch of a CUDA graph.

    The calls were made once before, so that their kernels are compiled. In the simulator, and with
    MINIGROK_CUDA_GRAPH=0 (for tools that look at single kernels), the calls are made one by one, to the same bits.
    """
    if device.simulated() or os.environ.get("MINIGROK_CUDA_GRAPH") == "0":
        return lambda: replay(calls)
    from cuda.core import Device, Stream

    here, stream = Device(cuda.get_current_device().id), Stream.from_handle(0)  # where copies of arrays go, too
    here.set_current()
    builder = here.create_graph_builder().begin_building()
    for function, args in calls:
        function(*args, stream=builder)
    whole = builder.end_building().complete()

    return partial(_launch_whole, whole, stream, calls)


def _launch_whole(whole: Any, stream: Any, calls: Calls) -> None:
    """Launch a graph. It holds addresses alone: the calls come along to keep the arrays alive."""
    whole.launch(stream)


@cache
def product_kernel(real: type, a_transposed: bool, b_transposed: bool, tiles: Any) -> Any:
    """Return the compiled kernel of `cuda_products.product`."""
    return cuda.jit(product(real, a_transposed, b_transposed, tiles))


@cache
def row_kernel(body: Body, stacked: tuple[bool, ...]) -> Any:
    """Return the compiled kernel (n, *args) that runs `body`; `stacked` tells which arguments have a replica axis."""
    return cuda.jit(row_source(body, stacked))


def row_source(body: Body, stacked: tuple[bool, ...]) -> Callable[..., None]:
    """Return the kernel's Python function: a kernel of CUDA takes a fixed number of arguments, a body its own."""
    names = [f"a{k}" for k in range(len(stacked))]
    mine = [f"{name}[r]" if replicated else name for name, replicated in zip(names, stacked, strict=True)]
    source = f"""
def kernel(n, {", ".join(names)}):
    r = cuda.blockIdx.y
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        body(i, i + 1, {", ".join(mine)})
"""
    space: dict[str, Any] = {"cuda": cuda, "body": device_function(body)}
    exec(source, space)
    kernel: FunctionType = space["kernel"]
    kernel.__name__ = kernel.__qualname__ = f"{body.__module__.rpartition('.')[2]}_{body.__name__}"
    return kernel


@cache
def device_function(body: Body) -> Any:
    """Return `body`, and the plain functions that it calls, as functions of the device."""
    assert isinstance(body, FunctionType)
    names = {name: body.__globals__[name] for name in body.__code__.co_names if name in body.__globals__}
    calls = {name: device_function(value) for name, value in names.items() if isinstance(value, FunctionType)}
    copy = FunctionType(body.__code__, {**body.__globals__, **calls}, body.__name__)
    return cuda.jit(device=True)(copy)
