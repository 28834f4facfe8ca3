"""The execution manifold: how much of a step stays in the span of the trajectory, and what chance does."""

from minigrok.analyses.subspace.analysis import ANALYSIS, compute
from minigrok.analyses.subspace.figure import figure
from minigrok.analyses.subspace.result import Result, Settings
from minigrok.analyses.subspace.table import table

__all__ = ["ANALYSIS", "Result", "Settings", "compute", "figure", "table"]
