"""The paper against itself: arithmetic that follows the numbers, whatever they are."""

from importlib import resources

import pytest

from minigrok.config import read_toml
from minigrok.report import contradictions as them


@pytest.fixture
def paper():
    return read_toml(resources.files("minigrok.report").joinpath("paper.toml").read_text("utf-8"), "paper")


def test_the_printed_numbers_give_what_they_give():
    found = {one.place + one.says: one.numbers for one in them.contradictions()}
    text = "\n".join(found.values())
    for part in (
        "200, 67, 200, 100, -866. 2 of 5 lie outside",
        "in 6 of 15 runs, 9 with ties allowed; sq is last in 5",
        "6.3 5.0 5.7 7.7 8.3. Not monotone",
        "6,533 / 13,133 = 49.7%",
        "10,256 for 8,900",
        "82.2% 76.5% 96.7%. Not monotone",
        "sq 47.5 to 57.4 %",
        "9 runs: p = 2^-9 = 0.002",
        "9,216 pairs, not 9,409",
        "deeper than at 0.5 and 0.1",
    ):
        assert part in text


def test_numbers_without_a_contradiction_give_none(paper):
    paper["table1"]["add"] = [mul + 200 for mul in paper["table1"]["mul"]]
    assert "0 of 5 lie outside" in them.staggered(paper).numbers
    paper["table6"]["share"] = [0.7, 0.8, 0.9]
    assert them.shares(paper).numbers.endswith("9%. Monotone.") or "Monotone." in them.shares(paper).numbers
    paper["table2"] = {"1": [[3, 1, 2]]}
    assert "in 1 of 1 runs, 1 with ties allowed; sq is last in 0" in them.order_of_three(paper).numbers
