"""What a worker measures: memory of its own process, CPU seconds a second."""

import subprocess
import sys
import time
from typing import Any

from minigrok.bench.worker import Desk

MB = 10**6
CODE = """
from minigrok.bench.worker import peak_bytes
start = peak_bytes()
room = bytearray(100_000_000)
full = peak_bytes()
del room
print(start, full, peak_bytes())
"""


def test_peak_memory_sees_what_was_there_once_and_nothing_of_the_parent() -> None:
    parent = bytearray(300 * MB)  # ru_maxrss of a child would start from here
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    start, full, after = map(int, done.stdout.split())
    assert start < 100 * MB < len(parent)
    assert 95 * MB < full - start < 110 * MB
    assert after > full - 5 * MB  # the system counts in batches


class Spinner:
    """Works for 20 ms on one core."""

    def run(self) -> None:
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass


def test_cores_are_cpu_seconds_a_second_and_the_first_call_does_not_count() -> None:
    desk, calls = Desk(), []
    spinner: Any = Spinner()
    desk.peer = type("Counted", (), {"run": lambda _: (calls.append(1), spinner.run())})()
    burst = desk.burst(0.1)
    assert len(calls) == len(burst["times"]) + 1
    assert 0.02 < burst["cores"] < 1.5
    assert all(seconds >= 0.02 for seconds in burst["times"])
