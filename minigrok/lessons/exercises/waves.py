"""Lesson 10: a discrete logarithm, by which products become sums."""

import itertools
from collections.abc import Iterator

import numpy as np

from minigrok.engine import Array
from minigrok.lessons.findings import FaultError, Finding, Names, array, call

SUFFIX = ".py"
PRIMES = (43, 11)  # that of tiny, and another one

START = '''"""Lesson 10. A table in which multiplication mod p is addition mod p - 1."""


def log_table(p):
    """Return p whole numbers: entry x is the k in 0 .. p-2 with g^k = x mod p, for some g; entry 0 is -1.

    Take a g whose powers reach every number from 1 to p-1: pow(g, k, p) is a power mod p.
    """
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield whether the table is a homomorphism, and what it does to the spectrum of multiplication."""
    for p in PRIMES:
        log = _table(names, p)
        yield from _laws(log, p)
    p = PRIMES[0]
    log = _table(names, p)
    coordinate = np.where((log >= 0) & (log < p - 1), log, 0)[1:]
    share, plain = _concentration(coordinate, p), _concentration(np.arange(p - 1), p)
    holds = share > 0.999
    hint = "in waves of your logarithm, a b is no function of log a + log b"
    got = f"{100 * share:.1f} % of mul's energy on equal frequencies, {100 * plain:.1f} % in waves of a"
    yield Finding("mul's spectrum concentrates", holds, got, "" if holds else hint)


def _table(names: Names, p: int) -> Array:
    found = array("log_table", call(names, "log_table", p), (p,), f"an entry for each of 0 .. {p - 1}")
    if (found != np.rint(found)).any():
        raise FaultError(
            "whole numbers",
            f"{found[found != np.rint(found)][0]:.4g}",
            "count powers of g; math.log is of another group",
        )
    return found.astype(int)


def _laws(log: Array, p: int) -> Iterator[Finding]:
    turned = "that is the table of powers, g^k at k: turn it round, k at g^k" if _is_powers(log, p) else ""
    one = log[1] == 0
    yield Finding(f"mod {p}: log 1 = 0", bool(one), str(log[1]), "" if one else turned or "g^0 = 1: count from k = 0")
    reached = len(set(log[1:].tolist()) & set(range(p - 1)))
    missing = int((log[1:] < 0).sum())
    hint = "the powers of your g come back to 1 too early, so g is no primitive root"
    if missing:
        hint = f"{missing} numbers have none: your g does not reach them. mod 43, 3 reaches all and 2 does not"
    got = f"{reached} of {p - 1}"
    yield Finding(f"mod {p}: every logarithm once", reached == p - 1, got, "" if reached == p - 1 else turned or hint)
    a, b = np.meshgrid(np.arange(1, p), np.arange(1, p))
    wrong = (log[a] + log[b] - log[a * b % p]) % (p - 1) != 0
    hint = turned or "a sum of logarithms is the logarithm of the product, mod p - 1"
    share = f"{100 * (1 - wrong.mean()):.0f} % of pairs"
    yield Finding(f"mod {p}: log ab = log a + log b", not wrong.any(), share, hint if wrong.any() else "")


def _is_powers(log: Array, p: int) -> bool:
    """Whether the table holds g^0, g^1, ... or g^1, g^2, ... in their order."""
    powers = log[: p - 1] if log[0] > 0 else log[1:]
    return (
        bool((powers > 0).all()) and len({int(y) * pow(int(x), -1, p) % p for x, y in itertools.pairwise(powers)}) == 1
    )


def _concentration(coordinate: Array, p: int) -> float:
    """Return the share of energy on equal frequencies of the answers of a b, written in waves of this coordinate.

    A function of x + y has waves of equal frequencies in x and y alone. The constant is left out.
    """
    answers = np.outer(np.arange(1, p), np.arange(1, p)) % p
    table = np.zeros((p - 1, p - 1, p))
    table[coordinate[:, None], coordinate[None, :], answers] = 1
    energy = (np.abs(np.fft.fft2(table - table.mean((0, 1)), axes=(0, 1))) ** 2).sum(2)
    return float(np.trace(energy) / energy.sum())
