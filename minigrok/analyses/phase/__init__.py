"""The phase diagram over weight decay."""

from minigrok.analyses.phase.analysis import ANALYSIS, compute
from minigrok.analyses.phase.figure import figure
from minigrok.analyses.phase.result import Result, Settings
from minigrok.analyses.phase.table import table

__all__ = ["ANALYSIS", "Result", "Settings", "compute", "figure", "table"]
