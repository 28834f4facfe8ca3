"""Spectra and commutators of W_Q and W_K over training, each beside random matrices of the same norms."""

from minigrok.analyses.weight_spectra.analysis import ANALYSIS, compute
from minigrok.analyses.weight_spectra.figure import figure
from minigrok.analyses.weight_spectra.result import Result, Settings
from minigrok.analyses.weight_spectra.table import table

__all__ = ["ANALYSIS", "Result", "Settings", "compute", "figure", "table"]
