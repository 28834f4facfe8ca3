"""Lesson 1: the grok step of tiny at a smaller weight decay."""

from collections.abc import Iterator

from minigrok.lessons.findings import Finding, Names, call, number

SUFFIX = ".py"
# Step at which the second task of tiny groks, seeds 42, 137 and 2024, on one thread of an x86-64 with AVX-512:
# minigrok train tiny --set seed=42 --set optimiser.weight_decay=0.3
GROKKED = {1.0: (4_500, 5_600, 9_200), 0.3: (12_100, 12_800, 28_400)}

START = '''"""Lesson 1. At which step does tiny grok if weight decay is 0.3 instead of 1?"""


def grok_step(decay):
    """Return the step at which both tasks have grokked, for a weight decay from 0.3 to 1.

    Your run says what it is at decay 1. What does decay do, and how long does that take if there is less of it?
    """
    ...
'''


def check(names: Names) -> Iterator[Finding]:
    """Yield whether the prediction lies between the earliest and the latest of three seeds."""
    for decay, steps in GROKKED.items():
        said = number("grok_step", call(names, "grok_step", decay))
        low, high = min(steps), max(steps)
        holds = low <= said <= high
        law = f"decay {decay}: between {low:,} and {high:,}, three seeds"
        yield Finding(law, holds, f"{said:,.0f}", "" if holds else _meaning(decay, said, low))


def _meaning(decay: float, said: float, low: float) -> str:
    if not said > 0:
        return "a step is positive"
    start = min(GROKKED[1.0])
    if decay == 1:
        return "begin with what your own run says: `minigrok plot runs/tiny-s42` marks the grok steps"
    if said < min(GROKKED[1.0]):
        return (
            "you say that less decay groks sooner. Look at the norms: decay must take the memorised weights away first"
        )
    if said < low:
        return (
            "too early: decay shrinks weights by lr * decay a step, so the same shrinking takes 1 / decay as many steps"
        )
    return f"too late: {said / start:.0f} times the step at decay 1, for {1 / decay:.1f} times less decay"
