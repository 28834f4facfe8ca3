"""The benchmark's end of a worker: starts it, asks it, ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from typing import Any

from minigrok.bench.settings import CONTENDERS, Settings
from minigrok.config import to_toml
from minigrok.engine import portable
from minigrok.errors import MinigrokError
from minigrok.peers.problem import Work

TIMEOUT = 1800.0  # seconds that one order may take; torch.compile needs minutes on a busy machine
LOG_LINES = 5  # of a failed worker that an error shows
THREADS_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")  # NPROC is XLA's
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # make OpenBLAS take another processor's kernels, or other blocks


class PeerError(MinigrokError):
    """A contender that fails, or that does not compute what minigrok computes."""

    exit_code = 1


class Worker:
    """A contender in a process of its own, bound to the settings' CPUs.

    Parameters
    ----------
    name : str             key of `CONTENDERS`
    settings : Settings
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "minigrok.bench.worker", ",".join(map(str, settings.cpus))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(settings),
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, work: Work, choose: bool = True) -> str:
        """Make the contender ready for a work; return a note on how it does it."""
        answer = self.ask(
            "open",
            name=self.name,
            module=CONTENDERS[self.name].module,
            config=to_toml(self.settings.config),
            work=asdict(work),
            threads=self.settings.threads,
            choose=choose,
        )
        return str(answer["note"])

    def ask(self, order: str, **details: Any) -> dict[str, Any]:
        """Give an order and return the answer.

        Raises
        ------
        PeerError
            The worker failed, died, or took longer than `TIMEOUT`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        overtime = threading.Timer(TIMEOUT, self._process.kill)
        overtime.start()
        try:
            print(json.dumps({"do": order} | details), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            overtime.cancel()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the process ended without an answer"}
        if "error" in answer:
            do = f"see the end of its log:\n{self.log()}"
            raise PeerError(f"{CONTENDERS[self.name].label} to follow the order {order!r}", answer["error"], do)
        return answer

    def log(self) -> str:
        """Return the last lines that the worker wrote to stderr."""
        self._log.seek(0)
        return "\n".join(self._log.read().splitlines()[-LOG_LINES:])

    def close(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.communicate()
        self._log.close()


def environment(settings: Settings) -> dict[str, str]:
    """Environment of a worker: without `SLOWING`, with its threads, and portable if the config asks for it."""
    own = {name: str(settings.threads) for name in THREADS_VARIABLES} | {"JAX_PLATFORMS": "cpu"}
    kept = {name: value for name, value in os.environ.items() if name not in SLOWING}
    return kept | own | (portable.SETTINGS if settings.config.compute.portable else {})
