"""What a benchmark runs on: contenders, sizes, CPUs."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from minigrok.checks import nearest
from minigrok.config import Config
from minigrok.engine.threads import available_threads
from minigrok.errors import ConfigError

Progress = Callable[[int, int, str], None]  # done, of how many, what is being done


class Contender(NamedTuple):
    """Who is measured."""

    label: str  # for people
    module: str  # with a function open_peer(name, problem)
    package: str  # that it needs
    requirement: str  # what to install for it


OWN = "minigrok"
CONTENDERS = {
    OWN: Contender("minigrok", "minigrok.peers.own", "minigrok", "minigrok"),
    "eager": Contender("PyTorch eager", "minigrok.peers.torch_peer", "torch", "torch==2.13.0"),
    "compile": Contender("torch.compile", "minigrok.peers.torch_peer", "torch", "torch==2.13.0"),
    "jax": Contender("JAX jit", "minigrok.peers.jax_peer", "jax", "jax==0.10.2"),
    "jax-tuned": Contender("JAX jit, tuned", "minigrok.peers.jax_peer", "jax", "jax==0.10.2"),
    "sgemm": Contender("sgemm", "minigrok.peers.products", "minigrok", "minigrok"),
}
PEERS = ("eager", "compile", "jax", "jax-tuned")


def obstacle(name: str) -> str:
    """Why a contender cannot run here, with what to do; empty if it can."""
    contender = CONTENDERS[name]
    return "" if find_spec(contender.package) else f"not installed (pip install {contender.requirement})"


@dataclass(frozen=True, slots=True)
class Settings:
    """Sizes of a run.

    Attributes
    ----------
    config : Config
    threads : int            of every contender, which is bound to as many CPUs
    bursts, seconds          rounds, and seconds of each contender's burst in a round (our choice)
    peers : tuple of str     from `PEERS`
    command : tuple of str   that starts minigrok's command line
    """

    config: Config
    threads: int
    bursts: int = 5
    seconds: float = 3.0
    peers: tuple[str, ...] = PEERS
    command: tuple[str, ...] = (sys.executable, "-m", "minigrok_cli")

    def __post_init__(self) -> None:
        for name in self.peers:
            if name not in PEERS:
                raise ConfigError(f"peers from {', '.join(PEERS)}", repr(name), nearest(name, PEERS))
        if self.threads > available_threads():
            got = f"{self.threads} threads for {available_threads()} CPUs of this process"
            raise ConfigError("a CPU for every thread", got, "lower --threads")

    @property
    def contenders(self) -> tuple[str, ...]:
        """minigrok and its peers, in the order of a round."""
        return (OWN, *self.peers)

    @property
    def cpus(self) -> list[int]:
        """CPUs that every contender is bound to: one of each core first, then their siblings."""
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(self.threads)
        return sorted(allowed, key=lambda cpu: (_rank_in_core(cpu), cpu))[: self.threads]


def _rank_in_core(cpu: int) -> int:
    """Return 0 for the first hardware thread of a core, 1 for its sibling; 0 where the system does not tell."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        siblings = path.read_text(encoding="ascii").strip().replace("-", ",").split(",")
    except OSError:
        return 0
    return sum(int(sibling) < cpu for sibling in set(siblings))
