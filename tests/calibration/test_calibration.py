"""The page has every claim, the simulations reject what is broken, and a few quick claims are held to both.

The others are slow: test_claims_of_*.py.
"""

from __future__ import annotations

import pytest
from broken import BROKEN
from page import cells, rates, wrong
from studies import POWER, STUDIES
from study import DRAWS, Count, coverage, size

ALL = {"calibration": STUDIES, "power": POWER}
QUICK = ("every band: a skewed null", "every share: true share .2", "hessian: a flat spectrum")


@pytest.mark.parametrize("name", ALL)
def test_the_page_has_a_row_for_every_claim(name):
    """If not: python .ci/calibration.py --write simulates them anew."""
    assert [row[:-1] for row in cells(name)] == [study.head(claim) for study in ALL[name] for claim in study.claims]


@pytest.mark.parametrize("study", [study for study in STUDIES if study.name in QUICK], ids=lambda study: study.name)
def test_quick_claims_are_kept(study):
    assert wrong(study, "calibration") == []


@pytest.mark.parametrize("study", BROKEN, ids=lambda study: study.null)
def test_a_broken_claim_is_seen(study):
    assert len(study.broken(study.counts())) == len(study.claims)


def test_counts_that_are_too_far_from_a_statement_are_not_kept():
    p, interval = size("p", "="), coverage("interval", ">=")
    assert p.is_kept(3, Count(25, DRAWS, DRAWS))
    assert not p.is_kept(3, Count(50, DRAWS, DRAWS))
    assert not p.is_kept(3, Count(5, DRAWS, DRAWS))
    assert interval.is_kept(3, Count(DRAWS, DRAWS, DRAWS))
    assert not interval.is_kept(3, Count(440, DRAWS, DRAWS))
    assert interval.is_kept(3, Count(0, 0, 0))


def test_a_cell_is_read_as_it_is_written():
    assert rates(".050 (3 %), none, 1") == [0.05, -1, 1]
