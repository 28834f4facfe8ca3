"""Dose-response of interventions: when runs grok, arm by arm and dose by dose."""

from minigrok.analyses.dose_response.analysis import ANALYSIS, compute
from minigrok.analyses.dose_response.figure import figure
from minigrok.analyses.dose_response.result import Result, Settings
from minigrok.analyses.dose_response.table import table

__all__ = ["ANALYSIS", "Result", "Settings", "compute", "figure", "table"]
