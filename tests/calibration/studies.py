"""Every p and every interval of every analysis, and what is planted to be found."""

from __future__ import annotations

import studies_bands
import studies_onset
import studies_phase
import studies_runs
from study import Study

MODULES = (studies_runs, studies_phase, studies_onset, studies_bands)
STUDIES: list[Study] = [study for module in MODULES for study in module.STUDIES]
POWER: list[Study] = [study for module in MODULES for study in module.POWER]
