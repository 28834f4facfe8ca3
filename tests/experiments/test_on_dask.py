"""Sweeps on a real Dask scheduler with real workers, on loopback; processes are killed for real."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_sweeps import all_bits, kill, small, step_of, until
from test_sources import TEXT as SOURCES

from minigrok.errors import ConfigError, EngineError, SweepError
from minigrok.experiments import on_dask
from minigrok.experiments.local import Local
from minigrok.experiments.on_dask import OnDask, Tls
from minigrok.experiments.sweep import Conducted, Watcher, conduct
from minigrok.experiments.sweep_file import read_sweep
from minigrok.storage.lock import owner_of

pytest.importorskip("distributed", reason="needs Dask: install the extra [distributed]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of Dask, whose connections are cut here
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
OFTEN = "from minigrok.training import loop\nloop.CHECKPOINT_SECONDS = 0.02\n"  # so that kills find checkpoints


class Cluster:
    """A scheduler and workers, each in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        until(self._file.exists)
        self.address = str(json.loads(self._file.read_text())["address"])

    @property
    def _file(self) -> Path:
        return self.folder / "scheduler.json"

    def add_worker(self, threads: int = 1) -> None:
        preload = self.folder / "often.py"
        preload.write_text(OFTEN)
        place = ["--local-directory", str(self.folder), "--preload", str(preload)]
        self._start("dask_worker", "--nthreads", str(threads), "--no-dashboard", "--host", "127.0.0.1", *place)

    def end(self) -> None:
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{kind}", "--scheduler-file", str(self._file)]
        log = (self.folder / "log").open("ab")
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*command, *options, *self.options], stdout=log, stderr=log, start_new_session=True, env=environment
        )
        log.close()
        self.processes.append(process)
        return process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "dask"
    folder.mkdir()
    started = Cluster(folder)
    yield started
    started.end()


def connected(cluster: Cluster, workers: int) -> OnDask:
    executor = OnDask(cluster.address)
    until(lambda: executor.workers == workers)
    return executor


def test_two_kills_of_a_worker_change_no_bit(tmp_path: Path, cluster: Cluster) -> None:
    """A scheduler, 3 workers, 6 runs; whoever is at work on one of them is killed, and its successor again."""
    sweep = small(steps=1500, analyses=("trajectory_pca",), snapshots=500)
    conduct(sweep, tmp_path / "serial", Local(workers=1))
    for _ in range(3):
        cluster.add_worker()
    executor, out = connected(cluster, 3), tmp_path / "dask-sweep"
    results: list[Conducted] = []
    sitting = threading.Thread(target=lambda: results.append(conduct(sweep, out, executor)))
    sitting.start()
    victim, killed, reached = out / sweep.configs[0].name, [], 100
    for _ in range(2):
        until(lambda least=reached: least < step_of(victim))
        reached = step_of(victim) + 100
        owner = owner_of(victim)
        assert owner is not None
        assert step_of(victim) < 1500
        killed.append(kill(owner[0].pid))
    sitting.join(120)
    executor.close()
    assert len(set(killed)) == 2
    assert [cell.state for cell in results[0].cells] == ["done"] * 6
    assert results[0].complete
    assert all_bits(out, sweep) == all_bits(tmp_path / "serial", sweep)


def test_a_scheduler_that_goes_away_is_a_clear_error_and_nothing_is_lost(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_dask, "CONNECT", 3.0)
    sweep, out = small(steps=3000, seeds=(1,)), tmp_path / "sweep"
    cluster.add_worker()
    executor = connected(cluster, 1)
    errors: list[BaseException] = []

    def sit() -> None:
        try:
            conduct(sweep, out, executor)
        except SweepError as error:
            errors.append(error)

    sitting = threading.Thread(target=sit)
    sitting.start()
    until(lambda: step_of(out / sweep.configs[0].name) > 50)
    kill(cluster.scheduler.pid)
    sitting.join(60)
    executor.close()
    assert "connection to it is lost" in str(errors[0])
    assert "nothing is lost" in str(errors[0])
    step = step_of(out / sweep.configs[0].name)
    assert 50 < step < 3000
    done = conduct(sweep, out, Local(workers=2))  # waits until the orphaned worker has let go
    assert done.complete
    conduct(sweep, tmp_path / "serial", Local(workers=2))
    assert all_bits(out, sweep) == all_bits(tmp_path / "serial", sweep)


def test_runs_wait_for_their_source_and_have_the_same_bits(tmp_path: Path, cluster: Cluster) -> None:
    """Interventions whose plane comes from another run of the sweep, trained by whichever worker."""
    for _ in range(2):
        cluster.add_worker()
    executor, sweep = connected(cluster, 2), read_sweep(SOURCES)
    assert conduct(sweep, tmp_path / "dask-sweep", executor).complete
    executor.close()
    assert conduct(sweep, tmp_path / "serial", Local(workers=1)).complete
    assert all_bits(tmp_path / "dask-sweep", sweep) == all_bits(tmp_path / "serial", sweep)


def test_stopping_lets_the_workers_save_and_go_free(tmp_path: Path, cluster: Cluster) -> None:
    sweep, out = small(steps=100_000, seeds=(1,)), tmp_path / "sweep"
    cluster.add_worker()
    executor = connected(cluster, 1)
    first = out / sweep.configs[0].name
    done = conduct(sweep, out, executor, Watcher(stop=lambda: step_of(first) > 50))
    assert done.stopped
    assert not done.complete
    until(lambda: owner_of(first) is None, 30)
    assert 50 < step_of(first) < 100_000
    executor.close()


def test_a_scheduler_without_workers_is_an_error_and_no_endless_wait(tmp_path: Path, cluster: Cluster) -> None:
    executor = OnDask(cluster.address)
    with pytest.raises(SweepError, match=r"dask worker tcp://.* --nthreads 1"):
        conduct(small(seeds=(1,)), tmp_path / "sweep", executor)
    executor.close()


def test_workers_of_several_threads_are_refused(tmp_path: Path, cluster: Cluster) -> None:
    cluster.add_worker(threads=2)
    executor = connected(cluster, 1)
    done = conduct(small(seeds=(1,)), tmp_path / "sweep", executor)
    executor.close()
    assert {cell.state for cell in done.cells} == {"failed"}
    assert all("--nthreads 1" in cell.reason for cell in done.cells)


def test_no_scheduler_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_dask, "CONNECT", 1.0)
    with pytest.raises(SweepError, match=r"a Dask scheduler at tcp://127\.0\.0\.1:9"):
        OnDask("tcp://127.0.0.1:9")


def test_no_dask_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(EngineError, match=r"\.\[distributed\]"):
        OnDask("tcp://127.0.0.1:9")


def test_a_job_queue_brings_its_workers(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue: install the extra [distributed]")
    with pytest.raises(ConfigError, match="did you mean slurm"):
        OnDask(queue="slrm")
    with pytest.raises(ConfigError, match="no_such_option"):
        OnDask(queue="local", options={"no_such_option": 1})
    sweep = small(seeds=(1,))
    executor = OnDask(queue="local", workers=2, options={"interface": "lo", "local_directory": str(tmp_path)})
    try:
        assert conduct(sweep, tmp_path / "sweep", executor).complete
    finally:
        executor.close()
    conduct(sweep, tmp_path / "serial", Local(workers=1))
    assert all_bits(tmp_path / "sweep", sweep) == all_bits(tmp_path / "serial", sweep)


# --- TLS


def certificates(folder: Path) -> tuple[str, str]:
    """Make a certificate that signs itself, and its key."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=minigrok"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_encrypts_and_keeps_strangers_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = certificates(tmp_path)
    options = ("--protocol", "tls", "--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key)
    cluster = Cluster(tmp_path, *options)
    try:
        cluster.add_worker()
        assert cluster.address.startswith("tls://")
        executor = OnDask(cluster.address, tls=Tls(cert, cert, key))
        until(lambda: executor.workers == 1)
        assert conduct(small(seeds=(1,)), tmp_path / "sweep", executor).complete
        executor.close()
        monkeypatch.setattr(on_dask, "CONNECT", 2.0)
        with pytest.raises(ConfigError, match="give --tls-ca-file"):
            OnDask(cluster.address)
        (tmp_path / "other").mkdir()
        stranger_cert, stranger_key = certificates(tmp_path / "other")
        with pytest.raises(SweepError):
            OnDask(cluster.address, tls=Tls(stranger_cert, stranger_cert, stranger_key))
    finally:
        cluster.end()
