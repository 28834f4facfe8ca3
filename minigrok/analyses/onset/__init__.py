"""Onset of the commutator defect: does it foretell grokking better than events that cannot miss."""

from minigrok.analyses.onset.analysis import ANALYSIS, compute
from minigrok.analyses.onset.figure import figure
from minigrok.analyses.onset.result import Result, Settings
from minigrok.analyses.onset.table import table

__all__ = ["ANALYSIS", "Result", "Settings", "compute", "figure", "table"]
