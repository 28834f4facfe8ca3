"""A worker process through its pipe: answers, failures, deaths, and what it prints."""

import os
from collections.abc import Iterator

import fakes
import numpy as np
import pytest

from minigrok.bench.gate import outcome
from minigrok.bench.pipe import THREADS_VARIABLES, PeerError, Worker, environment
from minigrok.config import with_settings
from minigrok.peers.problem import Work

pytestmark = pytest.mark.usefixtures("contenders")


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    with Worker(request.param, fakes.settings()) as worker:
        assert worker.open(Work("step")) == "sleeps"
        yield worker


@pytest.mark.parametrize("worker", ["sleeper"], indirect=True)
def test_a_burst_times_each_call_and_lasts_as_long_as_asked(worker: Worker) -> None:
    burst = worker.ask("burst", seconds=0.1)
    assert min(burst["times"]) >= 0.002
    assert sum(burst["times"][:-1]) < 0.1 < sum(burst["times"]) + 0.01 * len(burst["times"])
    assert burst["cores"] < 0.5, "asleep"
    assert len(worker.ask("burst", seconds=0.0)["times"]) == 1
    assert worker.ask("calls", n=10)["seconds"] >= 0.02
    assert worker.ask("flop") == {"flop": 1000}
    assert outcome(worker)["loss"] == np.array(1.5)


@pytest.mark.parametrize("worker", ["chatty"], indirect=True)
def test_what_a_contender_prints_is_no_answer(worker: Worker) -> None:
    assert min(worker.ask("burst", seconds=0.0)["times"]) > 0
    assert '{"times": [0.0]}' in worker.log()


@pytest.mark.parametrize("worker", ["broken"], indirect=True)
def test_a_failure_is_an_error_with_the_end_of_the_log_and_the_worker_lives(worker: Worker) -> None:
    with pytest.raises(PeerError, match="Broken to follow the order 'burst'") as caught:
        worker.ask("burst", seconds=0.0)
    assert caught.value.got == "ArithmeticError: two and two are five"
    assert "raise ArithmeticError" in caught.value.do
    assert worker.ask("flop") == {"flop": 1000}


@pytest.mark.parametrize("worker", ["dead"], indirect=True)
def test_a_death_is_an_error(worker: Worker) -> None:
    for _ in range(2):  # no answer, then a broken pipe
        with pytest.raises(PeerError, match="the process ended without an answer"):
            worker.ask("burst", seconds=0.0)


def test_the_process_is_gone_afterwards() -> None:
    with Worker("sleeper", fakes.settings()) as worker:
        pid = worker._process.pid
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_gets_its_threads_and_portable_mode() -> None:
    variables = environment(fakes.settings())
    assert {variables[name] for name in THREADS_VARIABLES} == {"1"}
    assert "NUMBA_CPU_NAME" not in set(variables) - set(os.environ)
    portable = fakes.settings(config=with_settings(fakes.SMALL, ["compute.portable=true"]))
    assert environment(portable)["NUMBA_CPU_NAME"] == "haswell"
