"""Lead of the defect's onset over the first task's grokking, run by run, from finished analyses `commutator`.

    lead    grok step (first task, the run's criterion) - onset of D by the paper's detectors
    (minigrok.statistics.detectors)
A lead against weight decay says little by itself: at a fixed onset the lead grows with the grok time. The analysis
`onset` has events that must fail, chance, and controls. Here nothing is measured: without a trace there is no lead.
Source: arXiv:2602.18523, figWD5 (v2), figTT_W (spike).
"""

from dataclasses import dataclass

import numpy as np

from minigrok.analyses.base import Protocol
from minigrok.analyses.phase.runs import Life
from minigrok.analyses.shared.defect import finished
from minigrok.statistics.detectors import DETECTORS
from minigrok.storage.runs import Run

SHOWN = ("v2", "spike")


@dataclass(frozen=True)
class Lead:
    """Onset of one run by one detector; nan: none, or no grokking."""

    detector: str
    onset: float
    lead: float
    checkpoints: int


def lead_of(run: Run, life: Life, protocol: Protocol) -> list[Lead]:
    """Return the run's leads, none without a finished trace of D."""
    trace = finished(run, protocol)
    if trace is None:
        return []
    grok = float(life.times[life.grokked].min()) if life.grokked.any() else np.nan
    onsets = {name: DETECTORS[name](trace.steps, trace.D).step for name in SHOWN}
    at = {name: np.nan if step is None else float(step) for name, step in onsets.items()}
    return [Lead(name, onset, grok - onset, len(trace.steps)) for name, onset in at.items()]
