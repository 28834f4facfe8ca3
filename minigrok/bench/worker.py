"""A process that does one contender's work when asked: `python -m minigrok.bench.worker CPU,CPU,...`.

One order a line on stdin, one answer a line on stdout, both JSON objects; the end of stdin ends the process.

    {"do": "open", "name", "module", "config" (TOML), "work", "threads", "choose"}  -> {"note"}
    {"do": "outcome", "file"}      write what the gate compares (npz)               -> {}
    {"do": "burst", "seconds"}     work until the time is over                      -> {"times", "cores"}
    {"do": "calls", "n"}           work n times                                     -> {"seconds"}
    {"do": "flop"}                 floating-point operations of one call             -> {"flop"}
    {"do": "memory"}               resident memory, largest so far                  -> {"peak_bytes"}

A failure answers {"error"}. Nothing heavy is imported before the process is bound to its CPUs.
"""

import json
import os
import resource
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


class Desk:
    """Follows the orders; `peer` is there once it was opened."""

    def __init__(self) -> None:
        self.peer: Any = None

    def open(self, name: str, module: str, config: str, work: Answer, threads: int, choose: bool) -> Answer:
        """Make the peer ready."""
        from minigrok.config import from_toml
        from minigrok.peers.problem import Problem, Work

        problem = Problem(from_toml(config), Work(**work), threads, choose)
        self.peer = import_module(module).open_peer(name, problem)
        return {"note": self.peer.note}

    def outcome(self, file: str) -> Answer:
        """Write what the gate compares."""
        import numpy as np

        np.savez(file, **self.peer.outcome())
        return {}

    def burst(self, seconds: float) -> Answer:
        """Work until the time is over, once at least, after one call that finds cold caches and does not count.

        `cores` is CPU seconds a second: how many cores were really at work.
        """
        clock, times = time.perf_counter, list[float]()
        self.peer.run()
        cpu, start = time.process_time(), clock()
        while not times or clock() - start < seconds:
            before = clock()
            self.peer.run()
            times.append(clock() - before)
        return {"times": times, "cores": (time.process_time() - cpu) / (clock() - start)}

    def calls(self, n: int) -> Answer:
        """Work n times."""
        start = time.perf_counter()
        for _ in range(n):
            self.peer.run()
        return {"seconds": time.perf_counter() - start}

    def flop(self) -> Answer:
        """Count the floating-point operations of the matrix products of one call."""
        return {"flop": self.peer.flop()}

    def memory(self) -> Answer:
        """Return the largest resident memory of this process so far."""
        return {"peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Largest resident memory of this process; not `ru_maxrss` on Linux, which a process inherits from its parent."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Follow orders until there are no more."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(cpu) for cpu in sys.argv[1].split(",")})
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    desk = Desk()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(desk, order.pop("do"))(**order)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
