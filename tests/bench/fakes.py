"""Contenders that are not: for the benchmark's tests, in this process (Scripted) or in a worker (open_peer)."""

import time
from typing import Any

import numpy as np

from minigrok.bench.settings import Settings
from minigrok.config import Config, Model, Task, with_settings
from minigrok.peers import own
from minigrok.peers.problem import Problem, Work

SMALL = with_settings(
    Config("small", task=Task(p=5), model=Model(width=4, heads=2, mlp_width=4, blocks=1)),
    ["train.batch_size=8", "compute.engine=plain", "compute.shards=1"],
)


def settings(**changes: Any) -> Settings:
    """Smallest settings that a benchmark runs with, no peers."""
    return Settings(**({"config": SMALL, "threads": 1, "bursts": 2, "seconds": 0.0, "peers": ()} | changes))


class Sleeper:
    """Computes nothing and takes 2 ms."""

    note = "sleeps"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def run(self) -> None:
        time.sleep(0.002)

    def outcome(self) -> dict[str, Any]:
        return {"loss": np.array(1.5)}

    def flop(self) -> int:
        return 1000


class Chatty(Sleeper):
    """Prints where answers go."""

    def run(self) -> None:
        print('{"times": [0.0]}', flush=True)


class Broken(Sleeper):
    """Fails at work."""

    def run(self) -> None:
        raise ArithmeticError("two and two are five")


class Dead(Sleeper):
    """Ends its process at work."""

    def run(self) -> None:
        raise SystemExit(3)


class Wrong(own.Step):
    """minigrok's training step with one element of the gradient off by a thousandth of the gradient's norm."""

    def outcome(self) -> dict[str, Any]:
        found = super().outcome()
        found["grad"][3] += 1e-3 * np.linalg.norm(found["grad"])
        return found


def open_peer(name: str, problem: Problem) -> Any:
    kinds = {"sleeper": Sleeper, "chatty": Chatty, "broken": Broken, "dead": Dead, "wrong": Wrong, "twin": own.Step}
    if name == "unable":
        raise NotImplementedError("no such work here")
    return kinds[name](problem)


class Scripted:
    """In place of a Worker: answers from a script, and notes the orders of all in one list.

    `times` {(contender, kind): a list of times in s, one a burst}, `outcomes` {contender: what the gate compares}.
    """

    orders: list[tuple[str, str]]
    times: dict[tuple[str, str], list[list[float]]]
    outcomes: dict[str, dict[str, Any]]

    def __init__(self, name: str, _: Settings) -> None:
        self.name, self.kind, self.round = name, "", 0

    def __enter__(self) -> "Scripted":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, work: Work, choose: bool = True) -> str:
        self.kind = work.kind
        self.orders.append((self.name, "open"))
        return f"{self.name} at {work.kind}"

    def ask(self, order: str, **_: Any) -> dict[str, Any]:
        self.orders.append((self.name, order))
        if order == "burst":
            self.round += 1
            return {"times": self.times[self.name, self.kind][self.round - 1], "cores": float(self.round)}
        return {"memory": {"peak_bytes": 1000}, "flop": {"flop": 4_000_000}}[order]

    def close(self) -> None:
        self.orders.append((self.name, "close"))
