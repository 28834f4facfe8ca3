"""Curvature of the training loss."""

from minigrok.analyses.hessian.analysis import ANALYSIS, compute
from minigrok.analyses.hessian.figure import figure
from minigrok.analyses.hessian.result import Paper, Result, Settings
from minigrok.analyses.hessian.table import table

__all__ = ["ANALYSIS", "Paper", "Result", "Settings", "compute", "figure", "table"]
