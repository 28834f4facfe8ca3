"""Orbits: whether the network knows a + b = b + a before it can add, and which pairs compression and k* score.

A test pair has a partner if the symmetries of its operation (minigrok.config.symmetries) take it to a train pair: that
pair has the same answer. Test pairs of each task:
    partner    those that have one      alone    the others      all    both
Along training (snapshots), and of the final network compressed, ablated and rebuilt by the functions of these analyses.
    reaches .90    first x at which the accuracy of the group is .90 or more: of "uncentred" and "decay removed", k*
    widest gap     the x at which "partner" is farthest above "alone": the largest of many differences
Nulls
    lookup       the score of a table that knows the symmetries and nothing else: at a test pair it copies what the same
                 network answers at one of the partners, and guesses at pairs that have none
                     partner: mean over test pairs of the share of their partners that are answered rightly
                     alone: 1 / p      all: share s1 (partner) + (1 - s1) / p, if every train pair is known
                 s1 on the paper's split of seed 42: .494 (add), .867 (mul), .992 (sq)
    chance       1 / p
    noise        noise of the same norm, array by array, on the final network     random directions     for PCs
low, high: interval of a share (Clopper and Pearson) of `orbits` values: a network that knows the symmetry answers all
pairs of an orbit alike, so the orbit is the unit, not the pair. It says how well the share of such pairs is known in
this run, not what another seed would give.
Protocol "paper": float32, the last checkpoint, and the studies that the paper has; it does not ask the question.
Source: our question; counts of the paper's split: ours.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minigrok.analyses import ablation, compression
from minigrok.analyses.base import Analysis, Cost, Work
from minigrok.analyses.orbits.figure import figure
from minigrok.analyses.orbits.result import GROUPS, Group, Line, Result, Settings
from minigrok.analyses.orbits.table import table
from minigrok.analyses.reconstruction import analysis as reconstruction
from minigrok.analyses.reconstruction import result as reconstruction_settings
from minigrok.analyses.shared.cost import scored
from minigrok.analyses.shared.curves import Curve, Network
from minigrok.config.symmetries import group
from minigrok.engine import Array
from minigrok.geometry.subspace import thinned
from minigrok.orbits import has_partner, lookup_weights, orbits
from minigrok.storage.milestones import milestones
from minigrok.storage.runs import Run
from minigrok.tasks import Pairs, pairs


class Studies(NamedTuple):
    """Which networks of the other analyses are scored: our choice of those that keep parts one by one."""

    compression: tuple[str, ...]
    ablation: tuple[str, ...]
    reconstruction: tuple[str, ...]


STUDIES = {
    "exact": Studies(
        ("svd", "prune"), ("by variance, rest final",), ("uncentred", "decay removed", "random directions")
    ),
    "paper": Studies(("svd", "prune"), ("first columns, rest final",), ("uncentred", "random directions")),
}


class Members(NamedTuple):
    """A group of test pairs of task k.

    Attributes
    ----------
    k : int
    is_member : (n_test,) bool
    orbits : int                 of the members
    weights : (n_train,)         how many of the members each train pair answers in the lookup table
    guessed : int                members that no train pair answers
    """

    k: int
    is_member: Array
    orbits: int
    weights: Array
    guessed: int

    @property
    def n(self) -> int:
        """Number of members."""
        return int(self.is_member.sum())

    def test(self, correct: Array) -> float:
        """Return the accuracy on the members, of which test pairs are answered rightly (n_tasks, n_test)."""
        return float(correct[self.k, self.is_member].mean())

    def lookup(self, correct: Array, chance: float) -> float:
        """Return the score of the lookup table, of which train pairs are answered rightly (n_tasks, n_train)."""
        return float((self.weights @ correct[self.k] + self.guessed * chance) / self.n)


def members_of(orbit: Array, k: int, data: Pairs) -> dict[str, Members]:
    """Return the groups of task k by name, of which the orbit of each pair is known, (M,)."""
    has = has_partner(orbit, data.test, data.train)
    weights, all_pairs = lookup_weights(orbit, data.test, data.train), np.ones_like(has)
    nothing, alone = np.zeros_like(weights), int((~has).sum())
    each = ((all_pairs, weights, alone), (has, weights, 0), (~has, nothing, alone))
    return {
        name: Members(k, who, len(np.unique(orbit[data.test[who]])), answers, guessed)
        for name, (who, answers, guessed) in zip(GROUPS, each, strict=True)
        if who.any()
    }


class Grouped(Network):
    """The network of a run, scored by groups: `names` are those of groups.

    In the place of train accuracies stand those of the lookup table, which follow from the answers at train pairs.
    """

    def __init__(self, run: Run, protocol: str) -> None:
        super().__init__(run, protocol)
        task, data = run.config.task, pairs(run.config.task, run.config.seed)
        self.chance = 1 / task.p
        self.groups: list[Group] = []
        self.members: list[Members] = []
        for k, operation in enumerate(task.operations):
            for name, members in members_of(orbits(data.tokens, task.p, group([operation])), k, data).items():
                self.groups.append(Group(operation, name, members.n, members.orbits))
                self.members.append(members)
        self.names = [f"{each.task}, {each.name}" for each in self.groups]

    def accuracies(self, theta: Array) -> Array:
        """Return the scores of the lookup table and of the network at theta (P,), (2, G)."""
        self.net.theta[:] = theta
        train, test = (each.scores().correct for each in self.sets)
        return np.array([[m.lookup(train, self.chance) for m in self.members], [m.test(test) for m in self.members]])

    def alone(self, test: Array) -> Array:
        """Return the column of each task's pairs without a partner (N, n_tasks) of accuracies (N, G)."""
        found = np.full((len(test), 1 + max(each.k for each in self.members)), np.nan)
        for i, (members, name) in enumerate(zip(self.members, self.groups, strict=True)):
            if name.name == "alone":
                found[:, members.k] = test[:, i]
        return found

    def test_accuracy(self, theta: Array) -> Array:
        """Return the accuracy of each group at theta (P,), (G,)."""
        self.net.theta[:] = theta
        correct = self.sets[1].scores().correct
        return np.array([members.test(correct) for members in self.members])


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Score the groups along training, and of the final network changed."""
    run, network = runs[0], Grouped(runs[0], settings.protocol)
    parts = {"training": training, "compression": compressed, "ablation": ablated, "reconstruction": rebuilt}
    lines = [line for part in settings.chosen_parts() for line in parts[part](network, settings, work)]
    columns = run.metrics()
    reached = milestones(run.config, columns) if columns else {}
    steps = {task: found.memorised_at for task, found in reached.items()}
    memorised = {task: float(step) if (step := steps.get(task)) else np.nan for task in run.config.task.operations}
    alone = {f"{line.part}, {line.of}": network.alone(line.test) for line in lines}
    return Result(run.folder.name, network.steps[-1], network.chance, network.groups, memorised, lines, alone)


def training(network: Grouped, settings: Settings, work: Work) -> list[Line]:
    """Return the line of the snapshots, both ends among them."""
    steps = thinned(network.steps, settings.most)
    names = [f"step-{step:06d}" for step in steps]
    found = work.parts(names, lambda n: {"both": network.accuracies(network.run.load_snapshot(steps[n]))})
    lookup, test = np.stack([each["both"] for each in found], axis=1)
    return [Line("training", "snapshots", np.array(steps, np.float64), test, lookup, np.full(test.shape, np.nan))]


def compressed(network: Grouped, settings: Settings, work: Work) -> list[Line]:
    """Return the lines of the compression that is scored."""
    chosen = STUDIES[settings.protocol].compression
    own = compression.Settings(settings.protocol, parts=chosen, repeats=settings.repeats)
    return [_line("compression", each) for each in compression.curves_of(network, own, work)]


def ablated(network: Grouped, settings: Settings, work: Work) -> list[Line]:
    """Return the lines of the ablation that is scored."""
    own = ablation.Settings(settings.protocol, parts=STUDIES[settings.protocol].ablation, repeats=settings.repeats)
    return [_line("ablation", each) for each in ablation.curves_of(network, own, work)[0]]


def rebuilt(network: Grouped, settings: Settings, work: Work) -> list[Line]:
    """Return the lines of the reconstruction that is scored."""
    names = STUDIES[settings.protocol].reconstruction
    own = reconstruction_settings.Settings(settings.protocol, parts=names, largest=settings.largest)
    tracks = reconstruction.tracks_of(network, names, np.array(thinned(network.steps, own.most)), own, work)
    nothing = [np.full(track.test.shape, np.nan) for track in tracks]
    return [
        Line("reconstruction", track.name, np.asarray(track.ks, np.float64), track.test, track.train, noise)
        for track, noise in zip(tracks, nothing, strict=True)
    ]


def _line(part: str, curve: Curve) -> Line:
    noise = curve.noise.mean(axis=1) if curve.noise.shape[1] else np.full(curve.test.shape, np.nan)
    return Line(
        part, f"{curve.study}, of {curve.reference}", curve.x.astype(np.float64), curve.test, curve.train, noise
    )


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the networks that are scored."""
    changed = {"training": settings.most, "compression": 76, "ablation": 68, "reconstruction": 3 * settings.largest}
    return scored(runs[0], sum(changed[part] for part in settings.chosen_parts()))


ANALYSIS = Analysis(
    "Does the network answer test pairs that a symmetry gives away before the others, and which do the scores count?",
    "minigrok: pairs with a partner of equal answer in train and without; lookup table with the symmetries",
    Settings,
    compute,
    table,
    figure,
    cost,
)
