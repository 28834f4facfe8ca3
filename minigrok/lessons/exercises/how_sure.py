"""Lesson 11: how many runs that all agree it takes to be sure."""

from collections.abc import Iterator

from minigrok.lessons.findings import Finding, Names, call, number
from minigrok.statistics.small_samples import sign_test

SUFFIX = ".py"
LEVELS = (0.05, 0.005, 0.001, 0.0625)  # the last one is exactly the p of five runs

START = '''"""Lesson 11. In how many seeds must mul grok before add, without an exception, for p below some level?"""


def runs_needed(level):
    """Return the least n with p < level, where p is two-sided: n coins all fall on one side, whichever it is."""
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield whether n runs are enough and n - 1 are not, by the sign test."""
    for level in LEVELS:
        n = number("runs_needed", call(names, "runs_needed", level))
        if n != int(n) or n < 1:
            yield Finding(f"p < {level}: a number of runs", False, f"{n:g}", "a whole number from 1 on: round up")
            continue
        p, before = sign_test(int(n), 0), sign_test(int(n) - 1, 0)
        enough, least = p < level, before >= level
        hint = "" if enough else _few(level, int(n), p)
        yield Finding(f"p < {level}: n runs are enough", enough, f"n = {n:.0f}, p = {p:.2g}", hint)
        hint = "" if least else "one run less would do: the least n is asked for. Is n a function of the level?"
        yield Finding(f"p < {level}: n - 1 are not", least, f"n - 1 gives {before:.2g}", hint)


def _few(level: float, n: int, p: float) -> str:
    if p == level:
        return "p is equal to the level, and must be below it"
    if p / 2 < level:
        return "one-sided: all heads or all tails would surprise you, so p = 2 / 2^n"
    return "p of n runs that agree is 2 / 2^n: find the first n at which it is below the level"
