"""The phase structure of weight decay: when runs grok, or do not, and what goes with it. A comparison of many runs.

One diagram: weight decay and optimiser steps, memorised and grokked, every run a mark, one that did not grok an arrow;
wd = 0 in a slot of its own. Beside it against weight decay: the decay clock t lr wd, survival, norms, gradient norms,
slingshots, curvature, k* and the lead of the defect's onset. The parts, with their definitions and nulls:
    phase_runs         what is read from a run's evaluations, censoring
    phase_laws         laws on a common footing, with the clock t = a / (lr wd) as null; survival, log-rank
    phase_curvature    deepest curvature (paper's), and at matched train loss and matched lr wd t
    phase_leads        onset of the defect, from finished analyses
    phase_rebuilt      k*, on test and on train pairs
Runs may differ in seed, weight decay, learning rate, numerics (dtype, cross-entropy) and budget, in nothing else: "no
grokking without weight decay" can be numerical, and lr and wd are one only if lr wd is what counts.
Runs of one seed share split, initial parameters and batch order: the seed is the unit of intervals and tests, and of
several runs of one seed and condition the first one counts.
Protocol "paper": the paper's fits, each in its own space, float32 defects and k* of checkpoints; nothing else changes.
Source: arXiv:2602.18523, figMT_F, figWD, weight-decay phase structure; controls: minigrok.
"""

from collections.abc import Sequence

from minigrok.analyses.base import Analysis, Cost, Work
from minigrok.analyses.phase import curvature
from minigrok.analyses.phase.figure import figure
from minigrok.analyses.phase.laws import responses, waiting
from minigrok.analyses.phase.leads import lead_of
from minigrok.analyses.phase.rebuilt import rebuild
from minigrok.analyses.phase.result import Result, Settings
from minigrok.analyses.phase.runs import COMPARED, conditions, label, life_of, main_line
from minigrok.analyses.phase.table import table
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import START, host, measured_seconds
from minigrok.analyses.shared.units import one_a_seed, require_alike
from minigrok.errors import RunFolderError
from minigrok.storage.runs import Run
from minigrok.training.counters import more_steps


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the phase structure of several runs.

    Raises
    ------
    RunFolderError
        No run has an evaluation, or they differ in task, model or criterion.
    """
    names = dict(zip(events.labels(runs), runs, strict=True))
    begun = {name: run for name, run in names.items() if len(run.metrics().get("step", ()))}
    if not begun:
        raise RunFolderError("a run with an evaluation", f"none in {', '.join(names)}", more_steps(runs[0]))
    require_alike([*begun.values()], [*begun], COMPARED, "weight decay, learning rate, numerics")
    begun, repeats = one_a_seed(begun)
    lives = [life_of(run, name) for name, run in begun.items()]
    found, tasks = conditions(lives), list(next(iter(begun.values())).config.task.operations)
    depths = [curvature.read(run) for run in begun.values()]
    if settings.curvature:
        measured = curvature.measure([*begun.values()], work, settings.loss, settings.clock, settings.products)
        depths = [there + new for there, new in zip(depths, measured, strict=True)]
    line = main_line(lives)
    return Result(
        settings.protocol,
        tasks,
        found,
        [label(each, found) for each in found],
        lives,
        {name: repeats.get(name, "no evaluation yet") for name in names if name not in begun},
        f"lr {line[0]:g}, {line[1]}" if line else "no run with weight decay",
        responses(lives, tasks, settings.protocol),
        waiting(lives, found, work.rng("phase/log-rank")),
        depths,
        [lead_of(run, life, settings.protocol) for run, life in zip(begun.values(), lives, strict=True)],
        rebuild([*begun.values()], work, settings.protocol, settings.components)
        if settings.components
        else [None] * len(begun),
    )


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the rebuilt networks that are scored, and the Hessian products."""
    begun = [run for run in runs if len(run.metrics().get("step", ()))]
    long = [run for run in begun if len(run.snapshots()) >= 3] if settings.components else []
    networks = len(long) * settings.components
    total = host(START) + (networks * measured_seconds(long[0]).score if long else 0)
    words = f"k* of {len(long)} runs, {networks} networks scored"
    if not settings.curvature:
        return Cost(total, f"{words}, curvature only from finished analyses (measure it: --set curvature=true)")
    found = [curvature.points(run, settings.loss, settings.clock) for run in begun]
    points = sum(len({*steps.values()}) for steps in found)
    if points:
        total += points * settings.products * measured_seconds(begun[0]).hvp
    return Cost(total, f"{words}, {points} points x {settings.products} products")


ANALYSIS = Analysis(
    "How do grok time, norms, curvature and the defect's lead go with weight decay, and what happens without it?",
    "arXiv:2602.18523, weight-decay phase structure; common footing, clock, censoring, matched curvature: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
