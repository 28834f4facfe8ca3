"""The commutator of two gradient steps."""

from minigrok.analyses.commutator.analysis import ANALYSIS, compute
from minigrok.analyses.commutator.figure import figure
from minigrok.analyses.commutator.result import Result, Settings
from minigrok.analyses.commutator.table import table

__all__ = ["ANALYSIS", "Result", "Settings", "compute", "figure", "table"]
