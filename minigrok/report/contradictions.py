"""The paper against itself: what it says beside what its own numbers give, by arithmetic on `paper.toml`."""

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from statistics import mean
from typing import Any, NamedTuple

from minigrok.config import read_toml

CHANCE = 100 / 97  # %, of p = 97 answers
Tables = Mapping[str, Any]


class Contradiction(NamedTuple):
    """`says` stands at `place`; `numbers` are what the paper's own tables give."""

    claim: str
    says: str
    place: str
    numbers: str


def contradictions() -> list[Contradiction]:
    """Return all of them, computed from the numbers that the paper prints."""
    text = resources.files("minigrok.report").joinpath("paper.toml").read_text("utf-8")
    tables = read_toml(text, "numbers of the paper")
    return [one(tables) for one in ALL]


def staggered(tables: Tables) -> Contradiction:
    """Gaps of table 1 beside the stated range."""
    t = tables["table1"]
    gaps = [add - mul for add, mul in zip(t["add"], t["mul"], strict=True)]
    low, high = t["stated"]
    outside = sum(not low <= gap <= high for gap in gaps)
    found = f"add minus mul: {_listed(gaps)}. {outside} of {len(gaps)} lie outside."
    return Contradiction("C1.1", f"add is {low} to {high} steps later than mul", "3, table 1", found)


def order_of_three(tables: Tables) -> Contradiction:
    """How many conditions of table 2 have the stated order."""
    runs = [run for seeds in tables["table2"].values() for run in seeds]
    strict = sum(mul < sq < add for add, mul, sq in runs)
    tied = sum(mul <= sq <= add for add, mul, sq in runs)
    last = sum(sq > max(add, mul) for add, mul, sq in runs)
    found = f"So in {strict} of {len(runs)} runs, {tied} with ties allowed; sq is last in {last}."
    return Contradiction("C1.2", "tri: mul, then sq, then add, consistently", "3, table 2", found)


def depth(tables: Tables) -> Contradiction:
    """Whether the lowest eigenvalue goes with weight decay."""
    t = tables["table4"]
    rows = [f"wd {wd:g}: {low} ({sd})" for wd, low, sd in zip(t["wd"], t["lowest"], t["sd"], strict=True)]
    deepens = _is_monotone(t["lowest"])
    without = t["lowest"][-1]
    deeper = [f"{wd:g}" for wd, low in zip(t["wd"], t["lowest"], strict=True) if without < low]
    found = f"{'; '.join(rows)}. {_monotone(deepens)}: without decay it is deeper than at {' and '.join(deeper)}."
    return Contradiction("C3.1", "the lowest eigenvalue deepens monotonically with weight decay", "6, table 4", found)


def ratio(tables: Tables) -> Contradiction:
    """Mean of ratios beside the ratio of means."""
    t = tables["table5"]
    own = t["lead"] / t["grok"]
    found = f"{t['lead']:,} / {t['grok']:,} = {own:.1%}: the printed share is a mean of ratios beside a row of means."
    return Contradiction("C3.5", f"dual, wd 1: the lead is {t['share']:.1%} of the grok step", "7, table 5", found)


def difference(tables: Tables) -> Contradiction:
    """Whether leads are grok less onset."""
    t = tables["table6"]
    gaps = [grok - onset for grok, onset in zip(t["grok"], t["onset"], strict=True)]
    off = [f"{gap:,} for {lead:,}" for gap, lead in zip(gaps, t["lead"], strict=True) if gap != lead]
    return Contradiction("C3.5", "tri: mean grok step, onset and lead", "7, table 6", f"Differences: {'; '.join(off)}.")


def shares(tables: Tables) -> Contradiction:
    """Whether the lead share is monotone in weight decay."""
    found = tables["table6"]["share"]
    words = " ".join(f"{share:.1%}" for share in found)
    says = "tri: the lead share grows monotonically as decay falls"
    return Contradiction("C3.5", says, "7, table 6", f"wd 1, .5, .1: {words}. {_monotone(_is_monotone(found))}.")


def components(tables: Tables) -> Contradiction:
    """Whether k* grows as weight decay falls, and with the tasks."""
    dual, tri = ([mean(seeds) for seeds in tables[name]["k"]] for name in ("table8", "table9"))
    fewer = sum(b < a for a, b in zip(dual, tri, strict=True))
    means = " ".join(f"{k:.1f}" for k in dual)
    more = f"tri needs fewer than dual at {fewer} of {len(dual)} decays, and section 12.5 says more tasks need more"
    found = f"Means of dual, wd 1 to .1: {means}. {_monotone(_is_monotone(dual))}; {more}."
    return Contradiction("C3.8", "k* grows monotonically as decay falls", "8, tables 8, 9", found)


def one_component(tables: Tables) -> Contradiction:
    """Accuracy with one component, beside chance."""
    t = tables["table14"]
    firsts = {task: [each[task][0] for each in t.values()] for task in ("add", "mul", "sq")}
    words = "; ".join(f"{task} {min(x)} to {max(x)} %" for task, x in firsts.items())
    found = f"One component, tri, seed 42: {words}; chance is {CHANCE:.1f} %."
    return Contradiction("C4.5", "the first component carries no generalisation", "10.2, table 14", found)


def between(tables: Tables) -> Contradiction:
    """Accuracies between chance and k*."""
    t = tables["table14"]
    worst = [min(values) for each in t.values() for values in zip(each["add"], each["mul"], each["sq"], strict=True)]
    middle = [x for x in worst if 5 * CHANCE < x < 90]
    share = f"{len(middle)} of {len(worst)}"
    found = f"The worst task lies between five times chance and 90 % in {share} rows: {_listed(middle)} %."
    return Contradiction("C4.4", "below k* chance, at k* a jump: no gradual regime", "10.2, table 14", found)


def counted_three_times(tables: Tables) -> Contradiction:
    """The p of tasks and the p of runs."""
    t = tables["onset"]
    tasks, runs = t["tasks"], t["runs"]
    found = (
        f"The {tasks // runs} tasks of a run share one spike, so there are {runs} runs: p = 2^-{runs} = {2**-runs:.1g}."
    )
    return Contradiction("C2.8t", f"p = 2^-{tasks} = {2**-tasks:.0e} for tri", "7, table 6", found)


def inputs(tables: Tables) -> Contradiction:
    """How many pairs text and code have."""
    t = tables["inputs"]
    text, code = ((high - low + 1) ** 2 for low, high in (t["in_text"], t["in_code"]))
    low, high = t["in_code"]
    found = f"Its code takes {low} to {high}: {code:,} pairs, not {text:,}."
    return Contradiction("", f"inputs are {t['in_text'][0]} to {t['in_text'][1]}", "text against code", found)


def _is_monotone(values: Sequence[float]) -> bool:
    steps = [b - a for a, b in pairwise(values)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def _monotone(is_so: bool) -> str:
    return "Monotone" if is_so else "Not monotone"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:,}" for value in values)


ALL: tuple[Callable[[Tables], Contradiction], ...] = (
    *(staggered, order_of_three, depth, ratio, difference, shares, components),
    *(one_component, between, counted_three_times, inputs),
)
