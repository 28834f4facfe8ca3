"""The commutator defect D over the snapshots of a run: from its finished analysis `commutator`, or measured here.

D of the total loss, the median over pairs of batches (minigrok.geometry.brackets says what D does not see):
    exact    |H_B g_A - H_A g_B| / (|g_A| |g_B|), float64
    paper    |delta| / (|eta g_A| |eta g_B| + 1e-12), float32 finite differences
Measured here the batches come from a stream that belongs to run and step, whatever runs stand beside it.
"""

from dataclasses import dataclass, replace

import numpy as np

from minigrok.analyses import results
from minigrok.analyses.base import Work, snapshot_steps
from minigrok.analyses.shared.probes import Probe
from minigrok.config import config_hash
from minigrok.engine import Array
from minigrok.geometry import brackets
from minigrok.storage.runs import Run


@dataclass(frozen=True)
class Trace:
    """D at S snapshots.

    Attributes
    ----------
    steps : (S,) int
    D : (S,) float64     dimensionless; 0 where a gradient is exactly 0
    source : str         where it comes from, in words
    """

    steps: Array
    D: Array
    source: str


def trace_of(run: Run, work: Work, protocol: str, most: int, repeats: int, is_fresh: bool = False) -> Trace:
    """Return D over a run's snapshots.

    Parameters
    ----------
    run : Run
    work : Work
    protocol : str
        "exact" or "paper".
    most : int
        Snapshots to measure, evenly thinned.
    repeats : int
        Pairs of batches at a snapshot.
    is_fresh : bool
        Measure even if the run has a result of `commutator`.
    """
    found = None if is_fresh else finished(run, protocol)
    return found or measured(run, work, protocol, most, repeats)


def finished(run: Run, protocol: str) -> Trace | None:
    """Return D from the run's own result of `commutator`; None if there is none of this protocol that reaches its end.

    Raises
    ------
    RunFolderError
        There is one, and it is damaged or of another run.
    """
    found = results.read(run, "commutator", protocol)
    if found is None or found["steps"][-1:].tolist() != run.snapshots()[-1:]:
        return None
    values = found["values"]["float32" if protocol == "paper" else "exact"][:, found["modes"].index("total")]
    return Trace(found["steps"], _middle(values), f"{found.folder.name}, {len(found['steps'])} checkpoints")


def measured(run: Run, work: Work, protocol: str, most: int, repeats: int) -> Trace:
    """Return D measured at `most` snapshots, in parts that a killed sitting leaves behind."""
    steps = np.array(snapshot_steps(run, 0, most), np.int64)
    own = replace(work, seed=run.config.seed)
    probes: list[Probe] = []  # made when first needed: a resumed sitting may not need any

    def one(i: int) -> dict[str, Array]:
        if not probes:
            probes.append(Probe(run, "float32" if protocol == "paper" else "float64"))
        rng = own.rng(f"defect/{steps[i]}")
        return {"D": np.array([_defect(probes[0], run.load_snapshot(int(steps[i])), rng) for _ in range(repeats)])}

    name = config_hash(run.config)[:12]
    parts = own.parts([f"D-{name}-{step:06d}" for step in steps], one)
    D = _middle(np.array([part["D"] for part in parts]).reshape(len(steps), repeats))
    return Trace(steps, D, f"measured, {len(steps)} checkpoints, {repeats} pairs of batches each")


def _defect(probe: Probe, theta: Array, rng: np.random.Generator) -> float:
    probe.load(probe.draw(rng))
    theta = theta.astype(probe.a.dtype)
    if probe.a.dtype == np.float32:
        return brackets.paper_defect(brackets.difference(probe.a, probe.b, theta))
    return brackets.defect(brackets.bracket(probe.a, probe.b, theta))


def _middle(values: Array) -> Array:
    """Return medians (S,) of (S, K)."""
    return np.nan_to_num(np.median(values, axis=1)) if values.size else np.zeros(len(values))
