"""R arrays of one shape on the device, which a layer sees as one.

    Stack (3, 4)  =  device array (R, 3, 4), C order in each replica; the replica axis is hidden

A layer asks its arrays for shapes, for reshapes and row ranges without a copy, and for the transpose in a product. A
Stack answers as NumPy's array of one replica would, and everything else fails. At the edges it is filled from the host
(`stack[:] = values`) and read (`stack.host()`; where R = 1, np.asarray(stack) too).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrok.engine.base import Array
from minigrok.errors import ShapeError


class Stack:
    """R device arrays of one shape.

    Parameters
    ----------
    data : device array (R, *shape)
    transposed : bool
        Whether rows and columns are exchanged: shape (..., n, m) is seen as (..., m, n). For products alone.
    """

    def __init__(self, data: Any, transposed: bool = False) -> None:
        self.data, self.transposed = data, transposed
        shape = tuple(int(n) for n in data.shape[1:])
        self.shape: tuple[int, ...] = shape[::-1] if transposed else shape

    @property
    def replicas(self) -> int:
        """R."""
        return int(self.data.shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def ndim(self) -> int:
        """Number of axes of one replica's array."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements of one replica's array."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def T(self) -> Stack:
        """The transpose of a matrix, for a product."""
        if self.ndim != 2:
            raise ShapeError("a matrix to transpose", f"a Stack of {self.shape}", "transpose matrices only")
        return Stack(self.data, not self.transposed)

    def reshape(self, *shape: Any) -> Stack:
        """Return the same memory in another shape; one axis may be -1."""
        wanted = list(shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)
        if -1 in wanted:
            wanted[wanted.index(-1)] = self.size // -int(np.prod(wanted))
        if self.transposed or int(np.prod(wanted, dtype=np.int64)) != self.size:
            raise ShapeError(f"a shape of {self.size} elements", f"{tuple(wanted)}", "reshape without a copy")
        return Stack(_in_shape(self.data, tuple(int(n) for n in wanted)))

    def __getitem__(self, key: Any) -> Stack:
        """Return a range of the last axis (`[..., a:b]`), or a range or one row of the first axis."""
        if isinstance(key, tuple) and len(key) == 2 and key[0] is Ellipsis and self.ndim == 1:
            key = key[1]
        if self.transposed or not isinstance(key, slice | int) or (isinstance(key, slice) and key.step is not None):
            raise ShapeError("a range or a row of the first axis", repr(key), "take other parts on the host")
        return Stack(self.data[:, key])

    def __setitem__(self, key: slice, values: Any) -> None:
        """Fill the whole of it from the host: values (R, *shape), or (*shape) for every replica."""
        if key != slice(None) or self.transposed:
            raise ShapeError("stack[:] = values", f"stack[{key}]", "fill the whole")
        self._require_whole()
        full = np.empty(self.data.shape, self.dtype)
        full[...] = values
        self.data.copy_to_device(full)

    def host(self) -> Array:
        """Return a copy on the host, (R, *shape); not of a part of a larger Stack."""
        self._require_whole()
        copy = np.asarray(self.data.copy_to_host())
        return copy.swapaxes(-1, -2) if self.transposed else copy

    def _require_whole(self) -> None:
        if not self.data.is_c_contiguous():
            raise ShapeError("a whole Stack to copy", f"a part of one, {self.shape}", "copy the whole")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return a copy on the host, (*shape), of the only replica."""
        if self.replicas != 1:
            raise ShapeError("a Stack of one replica", f"{self.replicas} replicas", "use host()")
        only: Array = self.host()[0]
        return only.astype(dtype or self.dtype, copy=False)


def _in_shape(data: Any, shape: tuple[int, ...]) -> Any:
    """Return (R, *shape) of the same memory, where each replica's part is in C order, however far apart they lie.

    Numba's own reshape refuses device arrays with gaps between the replicas.
    """
    full, item = (int(data.shape[0]), *shape), int(data.dtype.itemsize)
    if tuple(data.strides[1:]) != _strides(data.shape[1:], item) and data.size:
        raise ShapeError(
            "replicas in C order to reshape", f"strides {tuple(data.strides)}", "reshape before a part is taken"
        )
    if isinstance(data, np.ndarray) or not hasattr(data, "gpu_data"):  # the simulator's
        return data.reshape(full)
    strides = (int(data.strides[0]), *_strides(shape, item))
    return type(data)(full, strides, data.dtype, stream=data.stream, gpu_data=data.gpu_data)


def _strides(shape: Any, item: int) -> tuple[int, ...]:
    """Bytes from one element to the next along each axis, in C order."""
    return tuple(item * int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
