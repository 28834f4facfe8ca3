"""What the network computes on the way, for a set of pairs at any parameters."""

from collections.abc import Callable

import numpy as np

from minigrok.engine import Array
from minigrok.network import model
from minigrok.network.evaluation import CHUNK
from minigrok.network.passes import passes
from minigrok.storage.runs import Run


class Activations:
    """Forward passes over fixed pairs, in float64.

    Parameters
    ----------
    run : Run
    tokens : (M, 2) int64
    """

    def __init__(self, run: Run, tokens: Array) -> None:
        self.net = passes(run.config, run.config.compute.engine, "float64", 1, 1)
        self.plans = [self.net.plan(tokens[lo : lo + CHUNK]) for lo in range(0, len(tokens), CHUNK)]

    def __call__(self, theta: Array, kept: Callable[[list[Array], model.Tape], dict[str, Array]]) -> dict[str, Array]:
        """Return the arrays (M, ...) that `kept` takes from logits and tape of each chunk, at theta (P,)."""
        self.net.theta[:] = theta
        engine, found = self.net.engines[0], []
        for plan in self.plans:
            engine.rewind()
            chunk = kept(*model.forward(engine, self.net.w, plan))
            found.append({name: np.array(x) for name, x in chunk.items()})
        return {name: np.concatenate([chunk[name] for chunk in found]) for name in found[0]}


def read_by_heads(logits: list[Array], tape: model.Tape) -> dict[str, Array]:
    """Return what every head takes in, "z" (B, D)."""
    head = tape.heads[0]
    return {"z": getattr(head, "z", head)}  # a linear head keeps its input alone
