"""The product of matrices on the device: c_r = a_r b_r for every replica r, in tiles through shared memory.

A block of threads makes a tile of c of `tile` rows and columns, each thread `micro` times `micro` elements of it. Along
K it goes in steps of `depth`: all threads carry a slab of a and one of b into shared memory, wait for one another, and
every element of the slabs is used `tile` times from there. Sums run over K in its order: the same bits every time,
whatever R is.

Matrices may be transposed views: then the slab is read along the other axis, the one that is contiguous in memory.
float32 uses ordinary float32 arithmetic (multiply-add), never TF32.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from numba import cuda


class Tiles(NamedTuple):
    """Sizes of the work of a block of threads."""

    tile: int  # rows and columns of c that a block makes
    depth: int  # of a slab
    micro: int  # rows and columns of c that a thread makes; divides tile

    @property
    def threads(self) -> int:
        """Threads of a block along each of two axes."""
        return self.tile // self.micro


DEVICE = Tiles(64, 16, 4)  # 256 threads; slabs of 8 KiB in float32, 16 KiB in float64: our choice, not yet measured
SIMULATOR = Tiles(8, 5, 4)  # 4 threads: every loop and edge of the kernel at a small cost


@cache
def product(real: type, a_transposed: bool, b_transposed: bool, tiles: Tiles) -> Callable[..., None]:
    """Return the source of the kernel (a, b, c): matrices (R, M, K), (R, K, N), (R, M, N), as they lie in memory."""
    TILE, DEPTH, MICRO, THREADS = *tiles, tiles.threads
    ROW, ALL = TILE + 1, tiles.threads**2  # one column of padding: threads of a warp meet different banks

    def kernel(a: Any, b: Any, c: Any) -> None:
        r, m0, n0 = cuda.blockIdx.z, cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
        tm, tn = cuda.threadIdx.y, cuda.threadIdx.x
        M, N = c.shape[1], c.shape[2]
        K = a.shape[1] if a_transposed else a.shape[2]
        slab_a = cuda.shared.array((DEPTH, ROW), real)
        slab_b = cuda.shared.array((DEPTH, ROW), real)  # on a line of its own: the simulator tells them apart by it
        sums = cuda.local.array((MICRO, MICRO), real)
        for i in range(MICRO):
            for j in range(MICRO):
                sums[i, j] = real(0)
        for k0 in range(0, K, DEPTH):
            for e in range(tm * THREADS + tn, DEPTH * TILE, ALL):
                k, m = (e // TILE, e % TILE) if a_transposed else (e % DEPTH, e // DEPTH)
                value = real(0)
                if k0 + k < K and m0 + m < M:
                    value = a[r, k0 + k, m0 + m] if a_transposed else a[r, m0 + m, k0 + k]
                slab_a[k, m] = value
                k, n = (e % DEPTH, e // DEPTH) if b_transposed else (e // TILE, e % TILE)
                value = real(0)
                if k0 + k < K and n0 + n < N:
                    value = b[r, n0 + n, k0 + k] if b_transposed else b[r, k0 + k, n0 + n]
                slab_b[k, n] = value
            cuda.syncthreads()
            for k in range(DEPTH):
                for i in range(MICRO):
                    for j in range(MICRO):
                        sums[i, j] += slab_a[k, tm + i * THREADS] * slab_b[k, tn + j * THREADS]
            cuda.syncthreads()
        for i in range(MICRO):
            for j in range(MICRO):
                m, n = m0 + tm + i * THREADS, n0 + tn + j * THREADS
                if m < M and n < N:
                    c[r, m, n] = sums[i, j]

    kernel.__name__ = f"product_{'T' if a_transposed else 'N'}{'T' if b_transposed else 'N'}"
    return kernel
