"""Campaigns of faults: `pytest -m torture` runs all of them, and prints what they counted at the end."""

from collections.abc import Iterator
from typing import Any

import pytest
from campaigns import Campaign

campaigns: list[Campaign] = []


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Iterator[Campaign]:
    """Return the counter of a test; the test fails if anything failed or was silent."""
    counted = Campaign(request.node.name)
    campaigns.append(counted)
    yield counted
    assert counted.cases, "nothing was tried"
    assert not counted.failed, counted.failed[:10]
    assert not counted.silent, counted.silent[:10]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the campaigns."""
    if campaigns:
        terminalreporter.section("campaigns")
        for each in campaigns:
            counts = f"{each.cases:6} cases  {len(each.failed):4} failed  {len(each.silent):4} silent"
            terminalreporter.write_line(f"{counts}  {each.name}")
