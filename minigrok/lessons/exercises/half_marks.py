"""Lesson 2: the partners of a pair under the symmetries of a^2 + b^2."""

from collections.abc import Iterator
from typing import Any

from minigrok.display import brief
from minigrok.lessons.findings import FaultError, Finding, Names, call

SUFFIX = ".py"
P = 43  # of tiny
PAIRS = ((3, 7), (12, 41), (5, 5), (9, 34), (0, 8), (0, 0))  # general ones, diagonals, an axis, the origin

START = '''"""Lesson 2. Which pairs give a^2 + b^2 the same answer, without anybody adding or multiplying?"""


def partners(a, b, p):
    """Return the set of all pairs that swapping and changing signs make of (a, b), itself included.

    Both numbers of every pair are in 0 .. p-1: -a mod p is (-a) % p.
    """
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield what each law says of `partners`."""
    found = {pair: _partners(names, *pair) for pair in PAIRS}
    general = found[3, 7]
    outside = [pair for pairs in found.values() for pair in pairs if not all(0 <= x < P for x in pair)]
    hint = "signs are taken mod p: write (-a) % p"
    yield Finding("numbers in 0 .. p-1", not outside, brief(outside[:1]) if outside else "all", hint if outside else "")
    unequal = [(pair, other) for pair, others in found.items() for other in others if _square(*pair) != _square(*other)]
    got = f"{unequal[0][0]} and {unequal[0][1]} differ" if unequal else "all"
    yield Finding("equal answers", not unequal, got, "only swap, -a and -b keep a^2 + b^2" if unequal else "")
    yield Finding("8 partners of (3, 7)", len(general) == 8, str(len(general)), _few_or_many(general))
    odd = [pair for pair in PAIRS if len(found[pair]) != _size(*pair)]
    got = f"{odd[0]} has {len(found[odd[0]])}" if odd else "all"
    hint = "on a diagonal or an axis some of the 8 are the same pair: a set keeps one of each"
    yield Finding("fewer on diagonals and axes", not odd, got, hint if odd else "")
    lost = [other for other in general if _partners(names, *other) != general]
    got = f"those of {lost[0]} are others" if lost else "all"
    hint = "partners of a partner are partners: whatever maps you use, their products belong to them"
    yield Finding("a group", not lost, got, hint if lost else "")
    scaled = {(2 * a % P, 2 * b % P) for a, b in general} == _partners(names, 6, 14)
    hint = "the same maps serve every pair: do not search for equal answers, a lookup table cannot"
    yield Finding(
        "partners of (2a, 2b) are twice those of (a, b)", scaled, "yes" if scaled else "no", "" if scaled else hint
    )


def _partners(names: Names, a: int, b: int) -> set[tuple[int, int]]:
    value: Any = call(names, "partners", a, b, P)
    try:
        pairs = [(int(x), int(y)) for x, y in value]
    except (TypeError, ValueError):
        do = "return a set such as {(a, b), (b, a)}"
        raise FaultError("a set of pairs", brief(value), do) from None
    if len(pairs) != len(set(pairs)):
        raise FaultError(
            "each partner once", f"{len(pairs)} pairs, {len(set(pairs))} of them different", "return a set"
        )
    return set(pairs)


def _square(a: int, b: int) -> int:
    return (a * a + b * b) % P


def _size(a: int, b: int) -> int:
    """Members of an orbit: 8, but 4 where two maps agree, and 1 at the origin."""
    if a == b == 0:
        return 1
    return 4 if 0 in (a, b) or a == b or (a + b) % P == 0 else 8


def _few_or_many(found: set[tuple[int, int]]) -> str:
    meanings = {
        8: "",
        1: "that is the pair alone",
        2: "two: only one of swap, -a and -b",
        4: "four: you have the signs without the swap, or the swap with the joint sign alone",
        7: "seven: the pair itself is its own partner",
    }
    many = "more than the symmetries give: did you search for all pairs of one answer? A lookup table cannot do that"
    return meanings.get(len(found), many if len(found) > 8 else "swap, -a and -b in all combinations make 2 * 2 * 2")
