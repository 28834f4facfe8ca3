"""FINDINGS.md holds what its tables say: every number is a cell, and none is left open."""

import re
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / ".ci"))

import findings  # noqa: E402

PAGE, TABLES = TOP / "reference_outputs", TOP / "reference_outputs" / "analyses"


def test_the_page_is_its_source_filled_from_the_tables():
    source = (PAGE / "findings.in.md").read_text()
    assert len(findings.PLACE.findall(source)) > 40
    page = findings.filled(source, TABLES)
    assert page == (PAGE / "FINDINGS.md").read_text()
    assert not re.search(r"\{\{|\}\}", page)


@pytest.mark.parametrize(
    ("place", "row", "column"),
    [
        ("grok_order/dual-s42", "mark=0.98", "no such column"),
        ("grok_order/dual-s42", "mark=0.77", "p"),
        ("grok_order/dual-s42", "", "p"),
        ("grok_order/dual-s42", "no such column=1", "p"),
    ],
)
def test_a_place_that_is_not_one_cell_is_refused(place, row, column):
    with pytest.raises(LookupError):
        findings.cell(TABLES, place, row, column)


def test_every_linked_file_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", (PAGE / "FINDINGS.md").read_text()):
        assert (PAGE / target).exists(), target
