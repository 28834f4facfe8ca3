"""Claims of grok_order, dose_response and phase are kept where their truth is known, as the page says."""

from __future__ import annotations

import pytest
import studies_phase
import studies_runs
from page import wrong

pytestmark = pytest.mark.slow
MODULES = (studies_phase, studies_runs)


@pytest.mark.parametrize("study", [s for m in MODULES for s in m.STUDIES], ids=lambda study: study.name)
def test_claims_are_kept_where_the_null_is_true(study):
    assert wrong(study, "calibration") == []


@pytest.mark.parametrize("study", [s for m in MODULES for s in m.POWER], ids=lambda study: study.name)
def test_what_is_planted_is_found_as_often_as_the_page_says(study):
    assert wrong(study, "power") == []
