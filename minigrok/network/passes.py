"""Passes over a batch, and scores of a set of pairs, on the engine that is asked for: the CPU's or the device's."""

import warnings

from minigrok.config import Config
from minigrok.engine import Array, chosen, portable
from minigrok.network.evaluation import Evaluation
from minigrok.network.fleet import Fleet
from minigrok.network.fleet_evaluation import FleetEvaluation
from minigrok.network.sharded import Sharded


def passes(config: Config, engine: str, dtype: str, shards: int, threads: int | None = None) -> Sharded | Fleet:
    """Return what makes the passes over a batch on an engine: a `Sharded`, or a `Fleet` of one on the device.

    A portable configuration is read in any process; outside portable mode a UserWarning says what that means.
    """
    if config.compute.portable and (found := portable.obstacles()):
        said = f"not in portable mode, though the configuration is: {'; '.join(found)}; the last bits may be others"
        warnings.warn(said, stacklevel=3)
    name, _ = chosen(engine)
    return Fleet(config, dtype) if name == "cuda" else Sharded(config, name, dtype, shards, threads)


def evaluation(net: Sharded | Fleet, tokens: Array, targets: Array) -> Evaluation | FleetEvaluation:
    """Return the pairs (M, T) and classes (n_tasks, M), to score at the parameters of what `passes` returned."""
    if isinstance(net, Fleet):
        return FleetEvaluation(net, [(tokens, targets)] * net.replicas)
    return Evaluation(net, tokens, targets)
