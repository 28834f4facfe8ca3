"""Characters of cyclic groups on tables that may lack elements, and the energy that functions have in them.

Symbols
    chi_k(g) = exp(2 pi i k g / N), g in Z_N          chi_k(g + h) = chi_k(g) chi_k(h): a homomorphism
    phi(x)   coordinate of a point x in Z_N, such as a, log a or a + b; -1: the point has none
    m(g)     number of points of coordinate g
    B        orthogonal (N, N): the constant, then cos and sin of each frequency k = 1 .. N / 2
Functions of the coordinate
    push     (push f)(g) = m(g)^(-1/2) sum of f(x) over phi(x) = g, and 0 where no point is
    pull     its adjoint; pull push = Q projects on the functions of phi
    Parseval    |B^T push f|^2 = |push f|^2 = |Q f|^2, whatever elements the table lacks
Where Z_N lacks elements, the characters on what is left are no basis but a tight frame (Naimark). Energies add up
exactly, but a character that was planted keeps n / N of its energy, n elements being there: 96 / 97 for Z_97 on the
paper's tokens. `split` is free of this: it projects on the span of few characters on the points that there are, so
what is planted comes back exactly.
Coordinates of tokens and answers
    a            N = p          characters of addition
    log a        N = p - 1      of multiplication; log to the base of the least primitive root, 0 has none
    a^2          N = p          of addition, after squaring: functions even in a
Coordinates of pairs are two of one kind, phi = s N + t, for (a, b) and (log a, log b) and (a^2, b^2), and
    log u, log v    u = a + i b, v = a - i b, i^2 = -1 mod p: a^2 + b^2 = u v, so its logarithm is a sum. There is an i
                    only where p = 1 mod 4 (i = 22 for p = 97)
A character of one group is spread evenly over the other's: by Gauss sums, 2 / (p - 1) in each frequency (`leak`).
Source: Nanda et al. 2023 (arXiv:2301.05217) for Z_p; Chughtai et al. 2023 (arXiv:2302.03025) for other groups; frames:
Casazza & Kutyniok 2013, chapter 1; Gauss sums: Ireland & Rosen 1990, chapter 8; log u, log v: minigrok.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from minigrok.engine import Array
from minigrok.errors import ShapeError

NO_ROOT = "-1 has no square root mod p, as p is not 1 mod 4: a^2 + b^2 does not factor"


def primitive_root(p: int) -> int:
    """Return the least g whose powers are 1 .. p-1 mod a prime p."""
    factors = [q for q in range(2, p) if (p - 1) % q == 0 and all(q % d for d in range(2, int(q**0.5) + 1))]
    return next(g for g in range(1, p) if all(pow(g, (p - 1) // q, p) != 1 for q in factors))


def logarithms(p: int) -> Array:
    """Return the discrete logarithm (p,) of 0 .. p-1 to the base of the least primitive root; -1 for 0."""
    g, found, power = primitive_root(p), np.full(p, -1), 1
    for k in range(p - 1):
        found[power] = k
        power = power * g % p
    return found


def root_of_minus_one(p: int) -> int | None:
    """Return the least i with i^2 = -1 mod p; None unless p = 1 mod 4."""
    if p % 4 != 1:
        return None
    i = pow(primitive_root(p), (p - 1) // 4, p)
    return min(i, p - i)


@dataclass(frozen=True)
class Coordinate:
    """A coordinate of M points in Z_N, or in Z_N x Z_N.

    Attributes
    ----------
    values : (M,) int    0 .. N - 1, or s N + t for two; -1: the point has none
    order : int          N
    is_pair : bool

    Raises
    ------
    ShapeError    values are not (M,), or out of range
    """

    values: Array
    order: int
    is_pair: bool = False

    def __post_init__(self) -> None:
        """Check values."""
        values, cells = np.asarray(self.values), self.cells
        if values.ndim != 1 or (values.size and not -1 <= values.min() <= values.max() < cells):
            got = f"shape {values.shape}, {values.min(initial=0)} .. {values.max(initial=0)}"
            raise ShapeError(f"coordinates (M,) in -1 .. {cells - 1}", got, "reduce them mod N; -1 where there is none")

    @property
    def cells(self) -> int:
        """Number of cells: N, or N^2."""
        return self.order ** (2 if self.is_pair else 1)

    @property
    def inside(self) -> Array:
        """Which points have a coordinate, (M,) bool."""
        return np.asarray(self.values >= 0)

    @property
    def counts(self) -> Array:
        """Points of each cell, m (cells,)."""
        return np.bincount(self.values[self.inside], minlength=self.cells)

    def push(self, F: Array) -> Array:
        """Return push f (cells, C) of functions f, the columns of F (M, C)."""
        points = np.flatnonzero(self.inside)
        sums = csr_array((np.ones(len(points)), (self.values[points], points)), (self.cells, len(F))) @ F
        return np.asarray(sums / np.sqrt(np.maximum(self.counts, 1))[:, None])

    def pull(self, G: Array) -> Array:
        """Return pull g (M, C) of G (cells, C): functions of the coordinate, 0 where a point has none."""
        scaled = G / np.sqrt(np.maximum(self.counts, 1))[:, None]
        return np.where(self.inside[:, None], scaled[self.values], 0.0)


def fourier_basis(N: int) -> Array:
    """Return B (N, N): the constant, then cos and sin of each frequency; where N is even, the last is (-1)^g alone."""
    angles = 2 * np.pi * np.outer(np.arange(N), np.arange(1, (N + 1) // 2)) / N
    waves = np.sqrt(2 / N) * np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(N, -1)
    last = [(-1.0) ** np.arange(N)[:, None] / np.sqrt(N)] if N % 2 == 0 else []
    return np.hstack([np.full((N, 1), 1 / np.sqrt(N)), waves, *last])


def random_bases(N: int, count: int, rng: np.random.Generator) -> Array:
    """Return `count` orthogonal matrices (count, N, N): the constant, then uniformly random directions."""
    G = rng.standard_normal((count, N, N))
    G[:, :, 0] = 1
    return np.asarray(np.linalg.qr(G)[0])


def random_characters(N: int, count: int, rng: np.random.Generator) -> Array:
    """Return `count` bases (count, N, N): the Fourier basis, its even functions mixed at random, and its odd ones.

    Even are functions with f(-a) = f(a): cosines of Z_p, N odd; even frequencies of log a, N = p - 1 even, where -a is
    half the group away. So a random basis has what evenness alone puts into the characters.
    """
    basis, column = fourier_basis(N), np.arange(1, N)
    is_even = column % 2 == 1 if N % 2 else (column + 1) // 2 % 2 == 0
    found = np.repeat(basis[None], count, axis=0)
    for some in (column[is_even], column[~is_even]):
        turns = np.linalg.qr(rng.standard_normal((count, len(some), len(some))))[0]
        found[:, :, some] = basis[:, some] @ turns
    return found


def columns(N: int, frequencies: Array) -> Array:
    """Return the columns of a basis (N, N) that belong to these frequencies, in 1 .. N / 2."""
    both = np.concatenate([2 * np.asarray(frequencies, np.int64) - 1, 2 * np.asarray(frequencies, np.int64)])
    return np.sort(both[both < N])


def energies(G: Array, B: Array) -> Array:
    """Return the energy (K + 1, C) of G (N, C) at frequencies 0 .. K of a basis; they add up to |G|^2."""
    return np.add.reduceat(np.square(B.T @ G), np.r_[0, 1 : len(B) : 2], axis=0)


def grid_energies(G: Array, B: Array) -> Array:
    """Return the energy (K, C) of functions of a pair at the frequencies {0, k} x {0, k}, k = 1 .. K.

    These are the products of {1, cos, sin} of one frequency in both coordinates, but for the constant: what a unit of
    one frequency is made of. Different frequencies in s and t are in none.

    Parameters
    ----------
    G : (N, N, C)
    B : (N, N)       a basis
    """
    N, C = len(B), G.shape[2]
    U = (B.T @ G.reshape(N, -1)).reshape(N, N, C)  # each column of the basis in s: functions of t
    alone = np.square(B.T @ U[0])  # constant in s
    first = np.arange(1, N, 2)  # column of each frequency, and its partner, but for the last if N is even
    pairs = len(first) - (N % 2 == 0)
    found: Array = alone[first]
    found[:pairs] += alone[first[:pairs] + 1]
    for k, column in enumerate(first):
        rows = slice(column, column + 1 + (k < pairs))
        along = np.r_[0, rows]
        found[k] += np.square(B.T[along] @ U[rows]).sum(axis=(0, 1))
    return found


def leak(p: int) -> float:
    """Return the share of a character of one group that every frequency of the other group has."""
    return 2 / (p - 1) if p > 2 else 1.0


def span(coordinate: Coordinate, waves: Array) -> Array:
    """Return an orthonormal basis (cells, r) of columns of a basis, on the points that there are, less their mean."""
    root = np.sqrt(coordinate.counts)
    A, mean = root[:, None] * waves, root / max(np.linalg.norm(root), 1e-300)
    A = A - np.outer(mean, mean @ A)
    U, s, _ = np.linalg.svd(A, full_matrices=False)
    return np.asarray(U[:, s > len(A) * np.finfo(float).eps * max(s.max(initial=0), 1)])


def split(F: Array, coordinate: Coordinate, waves: Array) -> tuple[Array, Array]:
    """Return the constant and the part in a span of functions of the coordinate, both (M, C).

    The restricted function is their sum; the excluded one is F less the second.

    Parameters
    ----------
    F : (M, C)
    coordinate : Coordinate    points without one have a constant of their own
    waves : (N, c)             columns of a basis
    """
    constant, inside = np.zeros_like(F), coordinate.inside
    for part in (inside, ~inside):
        if part.any():
            constant[part] = F[part].mean(axis=0)
    Q = span(coordinate, waves)
    return constant, coordinate.pull(Q @ (Q.T @ coordinate.push(F)))


def of_numbers(a: Array, p: int, name: str = "a") -> dict[str, Coordinate]:
    """Return the coordinates of numbers mod p (M,) in the groups of addition and multiplication: `a` and `log a`."""
    found = {name: Coordinate(a % p, p)}
    return found | ({f"log {name}": Coordinate(logarithms(p)[a % p], p - 1)} if p > 2 else {})


def of_tokens(a: Array, p: int) -> dict[str, Coordinate]:
    """Return the coordinates of tokens (n,): `a`, `log a` and `a^2`."""
    return of_numbers(a, p) | {"a^2": Coordinate(a * a % p, p)}


def of_pairs(a: Array, b: Array, p: int) -> dict[str, Coordinate]:
    """Return the coordinates of pairs (M,): those of tokens twice, and log u, log v where p = 1 mod 4."""
    log, i = logarithms(p), root_of_minus_one(p)
    found = {"a, b": _two(a, b, p), "a^2, b^2": _two(a * a % p, b * b % p, p)}
    if p > 2:
        found["log a, log b"] = _two(log[a], log[b], p - 1)
    if i is not None:
        found["log u, log v"] = _two(log[(a + i * b) % p], log[(a - i * b) % p], p - 1)
    return found


def _two(s: Array, t: Array, N: int) -> Coordinate:
    return Coordinate(np.where((s < 0) | (t < 0), -1, s * N + t), N, is_pair=True)
