"""The commutator defect D over the checkpoints of a run: from its finished analysis `commutator`, or measured here.

D of the total loss, the median over pairs of batches (minigrok.geometry.brackets says what D does not see):
    exact    |H_B g_A - H_A g_B| / (|g_A| |g_B|), float64
    paper    |delta| / (|eta g_A| |eta g_B| + 1e-12), float32 finite differences
Measured here the batches come from a stream that belongs to run and step, whatever runs stand beside it.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from minigrok.analyses import results
from minigrok.analyses.base import Protocol, Work, attention_steps, checkpoint_steps
from minigrok.analyses.shared.probes import Probe
from minigrok.config import config_hash
from minigrok.engine import Array
from minigrok.geometry import brackets
from minigrok.storage.cadence import by_tasks
from minigrok.storage.runs import Run


@dataclass(frozen=True)
class Trace:
    """D at S snapshots.

    Attributes
    ----------
    steps : (S,) int
    D : (S,) float64     dimensionless; 0 where a gradient is exactly 0
    source : str         where it comes from, in words
    repeats : int        pairs of batches at a snapshot
    """

    steps: Array
    D: Array
    source: str
    repeats: int


class Sampling(NamedTuple):
    """Where D is measured: at `most` steps of a protocol, evenly thinned, of `repeats` pairs of batches each."""

    protocol: Protocol
    most: int
    repeats: int

    def steps(self, run: Run) -> list[int]:
        """Return the steps: checkpoints, or every 100 for the paper's three tasks."""
        is_dense = self.protocol == "paper" and by_tasks(run.config, False, True)
        return (attention_steps if is_dense else checkpoint_steps)(run, self.protocol, 0, self.most)


def trace_of(run: Run, work: Work, wanted: Sampling, is_fresh: bool = False) -> Trace:
    """Return D of a run: from its result of `commutator` if that will do and D need not be fresh, or measured."""
    return (None if is_fresh else usable(run, wanted)) or measured(run, work, wanted)


def usable(run: Run, wanted: Sampling) -> Trace | None:
    """Return D from the run's own result of `commutator`, as `finished`; the paper's must be as it is wanted."""
    found = finished(run, wanted.protocol)
    is_other = found is not None and (found.steps.tolist(), found.repeats) != (wanted.steps(run), wanted.repeats)
    return None if wanted.protocol == "paper" and is_other else found


def finished(run: Run, protocol: Protocol) -> Trace | None:
    """Return D from the run's own result of `commutator`; None if there is none of this protocol that reaches its end.

    Raises
    ------
    RunFolderError
        There is one, and it is damaged or of another run.
    """
    found = results.read(run, "commutator", protocol)
    if found is None or found["steps"][-1:].tolist() != checkpoint_steps(run, protocol, 0)[-1:]:
        return None
    values = found["values"]["float32" if protocol == "paper" else "exact"][:, found["modes"].index("total")]
    source = f"{found.folder.name}, {len(found['steps'])} checkpoints"
    return Trace(found["steps"], _middle(values), source, values.shape[1])


def measured(run: Run, work: Work, wanted: Sampling) -> Trace:
    """Return D measured where it is wanted, in parts that a killed sitting leaves behind."""
    steps, repeats = np.array(wanted.steps(run), np.int64), wanted.repeats
    own = replace(work, seed=run.config.seed)
    probes: list[Probe] = []  # made when first needed: a resumed sitting may not need any

    def one(i: int) -> dict[str, Array]:
        if not probes:
            probes.append(Probe(run, "float32" if wanted.protocol == "paper" else "float64"))
        rng = own.rng(f"defect/{steps[i]}")
        return {"D": np.array([_defect(probes[0], run.load_snapshot(int(steps[i])), rng) for _ in range(repeats)])}

    name = config_hash(run.config)[:12]
    parts = own.parts([f"D-{name}-{step:06d}" for step in steps], one)
    D = _middle(np.array([part["D"] for part in parts]).reshape(len(steps), repeats))
    return Trace(steps, D, f"measured, {len(steps)} checkpoints, {repeats} pairs of batches each", repeats)


def _defect(probe: Probe, theta: Array, rng: np.random.Generator) -> float:
    probe.load(probe.draw(rng))
    theta = theta.astype(probe.a.dtype)
    if probe.a.dtype == np.float32:
        return brackets.paper_defect(brackets.difference(probe.a, probe.b, theta))
    return brackets.defect(brackets.bracket(probe.a, probe.b, theta))


def _middle(values: Array) -> Array:
    """Return medians (S,) of (S, K)."""
    return np.nan_to_num(np.median(values, axis=1)) if values.size else np.zeros(len(values))
