"""Reconstruction: how many principal components of its own trajectory rebuild the grokked network."""

from minigrok.analyses.reconstruction.analysis import ANALYSIS, compute
from minigrok.analyses.reconstruction.figure import figure
from minigrok.analyses.reconstruction.result import Result, Settings
from minigrok.analyses.reconstruction.table import table

__all__ = ["ANALYSIS", "Result", "Settings", "compute", "figure", "table"]
