"""Who takes part, on which CPUs."""

import os

import fakes
import pytest

from minigrok.bench.settings import CONTENDERS, OWN, PEERS, obstacle
from minigrok.engine.threads import available_threads
from minigrok.errors import ConfigError


def test_every_peer_is_a_contender_and_minigrok_is_first() -> None:
    assert set(PEERS) < set(CONTENDERS)
    assert fakes.settings(peers=PEERS).contenders == (OWN, *PEERS)


@pytest.mark.parametrize("name", ["torch", OWN, "sgemm"])
def test_who_is_no_peer_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="peers from eager, compile, jax, jax-tuned"):
        fakes.settings(peers=(name,))


def test_a_cpu_for_every_thread() -> None:
    n = available_threads()
    cpus = fakes.settings(threads=n).cpus
    assert len(cpus) == len(set(cpus)) == n
    if hasattr(os, "sched_getaffinity"):
        assert set(cpus) <= os.sched_getaffinity(0)
    with pytest.raises(ConfigError, match=f"{n + 1} threads"):
        fakes.settings(threads=n + 1)


def test_an_obstacle_says_what_to_install(contenders: None) -> None:
    assert obstacle("absent") == "not installed (pip install absent==1.0)"
    assert obstacle("sleeper") == obstacle(OWN) == ""
