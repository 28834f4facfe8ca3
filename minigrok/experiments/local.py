"""Jobs in processes of this machine, one single-thread process a core.

A process for each job, and not a pool of them: one that dies takes nobody with it, memory is given back, and settings
that libraries read when they are imported (one BLAS thread, portable mode) are in its environment from the start.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from minigrok.checks import require
from minigrok.engine import portable
from minigrok.engine.threads import available_threads
from minigrok.experiments.job import Job, Outcome
from minigrok.storage.files import inside, make_folder, remove

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class Local:
    """Processes of this machine.

    Parameters
    ----------
    workers : int, optional    processes side by side; default: one a CPU that this process may use
    retries : int              further attempts at a job whose process died
    """

    def __init__(self, workers: int | None = None, retries: int = 3) -> None:
        require(workers is None or workers > 0, "the number of processes", "1 or more", workers)
        self.workers = workers or available_threads()
        self.retries = retries
        self._live: set[subprocess.Popen[str]] = set()

    @property
    def where(self) -> str:
        """Where jobs run, for people."""
        return f"{self.workers} single-thread process{'es' if self.workers > 1 else ''} on this machine"

    def close(self) -> None:
        """Nothing is held between jobs."""

    def outcomes(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> Iterator[Outcome]:
        """Do the jobs and yield how each ended, the first that ends first.

        Parameters
        ----------
        jobs : sequence of Job
        stop : function     asked twice a second; True asks all processes to save and end
        """
        asked = False
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                futures: set[Future[Outcome]] = {pool.submit(self._attend, job, lambda: asked) for job in jobs}
                while futures:
                    done, futures = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
                    if stop() and not asked:
                        asked = True
                        self._ask_to_stop()
                    yield from (future.result() for future in done)
            finally:
                asked = True
                self._ask_to_stop()

    def _attend(self, job: Job, stopped: Callable[[], bool]) -> Outcome:
        """Do a job in a process, and in another one if it dies."""
        name, outcome = str(job["name"]), None
        for _ in range(1 + self.retries):
            if stopped():
                return Outcome(name, False, "stopped", stopped=True)
            outcome = self._attempt(job, stopped)
            if not outcome.again:
                break
        assert outcome is not None
        return outcome

    def _attempt(self, job: Job, stopped: Callable[[], bool]) -> Outcome:
        log = inside(Path(job["out"]), "logs", f"{job['name']}.log")
        make_folder(log.parent, parents=False)
        settings = ONE_THREAD | (portable.SETTINGS if job["portable"] else {})
        command = [sys.executable, "-m", "minigrok.experiments.job", str(os.getpid())]
        pipe = subprocess.PIPE
        with (
            log.open("a", encoding="utf-8") as errors,
            subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=os.environ | settings
            ) as process,
        ):
            self._live.add(process)
            if stopped():  # asked a moment ago, when this process was not among the living
                process.terminate()
            output, _ = process.communicate(json.dumps(job))
            self._live.discard(process)
        if not log.stat().st_size:
            remove(log)
        try:
            return Outcome(**json.loads(output.splitlines()[-1]))
        except (ValueError, IndexError, TypeError):
            if stopped():  # so early that it did not know how to save, and had nothing to
                return Outcome(str(job["name"]), False, "stopped", stopped=True)
            return Outcome(str(job["name"]), False, _death(process.returncode, log), again=True)

    def _ask_to_stop(self) -> None:
        for process in list(self._live):
            process.send_signal(signal.SIGTERM)


def _death(code: int, log: Path) -> str:
    """Say how a process ended that gave no outcome."""
    how = f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.Signals(-code).name}"
    return f"its process died ({how})" + (f"; see {log}" if log.exists() else "")
