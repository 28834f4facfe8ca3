"""Loss and accuracy of every task and replica over sets of pairs on the device, in chunks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrok.engine import Array
from minigrok.layers import cross_entropy
from minigrok.network import model
from minigrok.network.evaluation import Scores, is_correct
from minigrok.network.fleet import Fleet

# Pairs a forward pass: few launches for more memory, 58 MiB a replica of the preset dual in float32 beside the 35 of
# its training step (counted by `kernels.Noting`); our choice, speed not yet measured.
CHUNK = 2048


class FleetEvaluation:
    """Fixed sets of pairs, one a replica and all of one size, to score at the parameters of a fleet.

    Parameters
    ----------
    fleet : Fleet
    sets : sequence of (tokens (M, T), targets (n_tasks, M))
        Pairs and classes of each replica, int64.
    """

    def __init__(self, fleet: Fleet, sets: Sequence[tuple[Array, Array]]) -> None:
        self.fleet, machine, M = fleet, fleet.machine, len(sets[0][0])
        self.rows = [slice(lo, min(lo + CHUNK, M)) for lo in range(0, M, CHUNK)]
        self.plans = [fleet.plan_each([tokens[rows] for tokens, _ in sets]) for rows in self.rows]
        targets = np.stack([each for _, each in sets])  # (R, n_tasks, M)
        self.targets = [[machine.stack(targets[:, k, rows]) for k in range(targets.shape[1])] for rows in self.rows]
        self._correct = machine.zeros((min(CHUNK, M),), np.int8)

    def scores(self) -> Scores:
        """Return loss and accuracy of the only replica."""
        (only,) = self.each()
        return only

    def each(self) -> list[Scores]:
        """Return loss and accuracy of each replica."""
        found = [self._chunk(plan, targets) for plan, targets in zip(self.plans, self.targets, strict=True)]
        losses, correct = (np.concatenate(each, axis=2) for each in zip(*found, strict=True))  # (R, n_tasks, M)
        return [
            Scores(np.array([np.mean(row, dtype=np.float64) for row in loss]), right.mean(axis=1), right)
            for loss, right in zip(losses, correct, strict=True)
        ]

    def _chunk(self, plan: model.Plan, targets: list[Array]) -> tuple[Array, Array]:
        machine, config = self.fleet.machine, self.fleet.config
        machine.rewind()
        logits, _ = model.forward(machine, self.fleet.w, plan)
        saturating, losses, correct = config.model.cross_entropy == "saturating", [], []
        for z, target in zip(logits, targets, strict=True):
            loss: Any = cross_entropy.forward(machine, z, target, saturating)[0]  # a Stack
            machine.rows(is_correct, target.size, z, target, self._correct)
            losses.append(loss.host())
            correct.append(self._correct.host()[:, : target.size] == 1)
        return np.stack(losses, axis=1), np.stack(correct, axis=1)
