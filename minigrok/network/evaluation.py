"""Loss and accuracy of every task over a set of pairs, in chunks that reuse the shards' workspaces."""

from typing import NamedTuple

import numpy as np

from minigrok.engine import Array, Calls, Engine, replay
from minigrok.layers import cross_entropy
from minigrok.network import model
from minigrok.network.sharded import Sharded

CHUNK = 256  # pairs a forward pass: the size of a training shard, so that no further memory is needed


class Scores(NamedTuple):
    """What an evaluation returns, task by task."""

    loss: Array  # (n_tasks,) float64, mean cross-entropy in nats
    accuracy: Array  # (n_tasks,) float64, share of pairs whose largest logit is the true class
    correct: Array  # (n_tasks, M) bool, which pairs those are


def is_correct(lo: int, hi: int, logits: Array, target: Array, correct: Array) -> None:
    """correct_i = whether the largest logit of row i (the first one of equals) is the true class."""
    for i in range(lo, hi):
        best = 0
        for c in range(logits.shape[1]):
            if logits[i, c] > logits[i, best]:
                best = c
        correct[i] = best == target[i]


def judge(engine: Engine, logits: Array, target: Array, correct: Array, saturating: bool = False) -> Array:
    """Return the losses (B,) of logits (B, V), and fill `correct` (B,)."""
    loss, _ = cross_entropy.forward(engine, logits, target, saturating)
    engine.rows(is_correct, len(target), logits, target, correct)
    return loss


class Evaluation:
    """A fixed set of pairs to score at the parameters of `net`.

    Parameters
    ----------
    net : Sharded
        Its `theta`, engines and threads are used; a pass kept for derivatives is lost.
    tokens : (M, T) int64
    targets : (n_tasks, M) int64
    """

    def __init__(self, net: Sharded, tokens: Array, targets: Array) -> None:
        self.net = net
        self.rows = [slice(lo, min(lo + CHUNK, len(tokens))) for lo in range(0, len(tokens), CHUNK)]
        self.plans = [net.plan(tokens[rows]) for rows in self.rows]
        self.targets = np.array(targets, order="C")
        self._losses = np.empty(targets.shape, net.dtype)
        self._correct = np.empty(targets.shape, np.bool_)
        self._calls: dict[int, Calls] = {}  # of each chunk, recorded at its first pass: later ones replay them
        self._left: dict[int, list[Array]] = {}  # where they leave the losses of each task

    def scores(self) -> Scores:
        """Return loss and accuracy at the present `net.theta`."""
        self.net.team.run(self._chunk, len(self.rows))
        loss = np.array([np.mean(each, dtype=np.float64) for each in self._losses])
        return Scores(loss, self._correct.mean(axis=1), self._correct.copy())

    def _chunk(self, i: int) -> None:
        engine = self.net.engines[i % self.net.team.size]  # job i belongs to this thread alone: Team.run
        if i in self._calls:
            replay(self._calls[i])
        else:
            engine.rewind()
            self._calls[i] = engine.record(lambda: self._forward(engine, i))
        for k, loss in enumerate(self._left[i]):
            self._losses[k, self.rows[i]] = loss

    def _forward(self, engine: Engine, i: int) -> None:
        logits, _ = model.forward(engine, self.net.w, self.plans[i])
        saturating, rows = self.net.config.model.cross_entropy == "saturating", self.rows[i]
        self._left[i] = [
            judge(engine, z, self.targets[k, rows], self._correct[k, rows], saturating) for k, z in enumerate(logits)
        ]
