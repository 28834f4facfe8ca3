"""Jobs on the workers of a Dask scheduler: a cluster, or other machines, that share the sweep's folder.

A worker that dies is replaced by whoever started it (its nanny, the job queue), and the scheduler gives its job to
another worker, which resumes the run from its last checkpoint to the same bits. A job that is cancelled, or whose
worker has lost the scheduler, saves and ends at its next step. If the scheduler goes away, nothing is lost: all state
is in the run folders.

A scheduler executes whatever a client sends: it must not be reachable by strangers. With TLS only who has a certificate
of the same authority can talk to it.
"""

import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from minigrok.checks import nearest
from minigrok.errors import ConfigError, EngineError, SweepError
from minigrok.experiments.job import Job, Outcome, perform_job

QUEUES = {  # name on the command line -> class in dask_jobqueue
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
    "local": "LocalCluster",  # its jobs are processes here: for a trial
}
# Dask's nannies start workers with one BLAS thread each, unless they are told otherwise
MEMORY = "2GiB"  # of a worker; a run of the paper's size takes a tenth of it: our choice
CONNECT = 30.0  # seconds to wait for a scheduler: Dask's default
ANSWER = 5.0  # seconds until a scheduler greets, a busy one: our choice
POLL = 0.2  # seconds between looks at the jobs: our choice
GOING = {"executing", "long-running", "resumed"}  # states of a task on a worker that is still wanted


@dataclass(frozen=True)
class Tls:
    """Files that encrypt and authenticate, in PEM format.

    Attributes
    ----------
    ca_file : str     the authority that signed everybody's certificate
    cert, key : str   this client's
    """

    ca_file: str
    cert: str
    key: str

    def security(self) -> Any:
        """Return what Dask takes; unencrypted connections are refused."""
        self.context()
        from distributed.security import Security

        roles = {f"tls_{role}_{part}": getattr(self, part) for role in ROLES for part in ("cert", "key")}
        return Security(tls_ca_file=self.ca_file, require_encryption=True, **roles)

    def context(self) -> ssl.SSLContext:
        """Return what encrypts a plain connection; a ConfigError if a file is missing or no certificate."""
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca_file)
            context.load_cert_chain(self.cert, self.key)
        except OSError as error:  # ssl's own are OSErrors
            got = f"{type(error).__name__}: {error} ({self.ca_file}, {self.cert}, {self.key})"
            raise ConfigError("certificates and key in PEM files", got, "name files that are there and fit") from error
        context.check_hostname = False  # as Dask does: who has a certificate of this authority is one of us
        return context


ROLES = ("client", "scheduler", "worker")


def require_scheduler(address: str, tls: Tls | None) -> None:
    """Raise an error unless a Dask scheduler answers at an address; Dask itself would try for `CONNECT` seconds.

    A scheduler greets whoever connects; one with TLS waits for the client's hello first.
    """
    scheme, host, port = _parts(address)
    if (scheme == "tls") != (tls is not None):
        do = "give --tls-ca-file, --tls-cert and --tls-key with tls://, and leave them out with tcp://"
        got = f"{address} {'with' if tls else 'without'} certificates"
        raise ConfigError("tls:// with certificates, or tcp:// without", got, do)
    required, do = f"a Dask scheduler at {address}", "see that it runs there, and that both use TLS or neither"
    try:
        with socket.create_connection((host, port), ANSWER) as plain:
            if tls is None:
                greeted = bool(plain.recv(1))
            else:
                with tls.context().wrap_socket(plain, server_hostname=host) as secret:
                    greeted = bool(secret.recv(1))
    except TimeoutError as error:
        raise SweepError(required, f"no greeting within {ANSWER:.0f} s", do) from error
    except OSError as error:  # refused, unreachable, no such host, other certificates
        raise SweepError(required, f"{type(error).__name__}: {error}", do) from error
    if not greeted:
        raise SweepError(required, "the connection was closed", do)


def _parts(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an address; a ConfigError if it lacks one."""
    try:
        url = urlsplit(address if "://" in address else f"tcp://{address}")
        if url.scheme in ("tcp", "tls") and url.hostname and url.port:
            return url.scheme, url.hostname, url.port
    except ValueError:  # a port that is no number
        pass
    do = "write it as the scheduler prints it, such as tcp://127.0.0.1:8786"
    raise ConfigError("a scheduler as tcp://host:port or tls://host:port", repr(address), do)


class OnDask:
    """Jobs on Dask workers.

    Parameters
    ----------
    address : str, optional      of a scheduler: tcp://host:port or tls://host:port
    queue : str, optional        key of `QUEUES`: start a scheduler here, and workers as jobs of that queue
    workers : int                of the queue
    options : mapping            keyword arguments of the queue's class in dask_jobqueue
    tls : Tls, optional
    retries : int                further attempts at a job that failed for no reason of its own
    """

    def __init__(
        self,
        address: str | None = None,
        queue: str | None = None,
        workers: int = 1,
        options: Mapping[str, Any] | None = None,
        tls: Tls | None = None,
        retries: int = 3,
    ) -> None:
        distributed = _import("distributed")
        if address is not None:
            require_scheduler(address, tls)
        security = tls.security() if tls else None
        self.retries = retries
        self._cluster = _queue(queue, workers, options or {}, security) if queue else None
        self._asked_for = workers if queue else 0
        self._address = self._cluster.scheduler_address if self._cluster else address
        try:
            self._client = distributed.Client(
                self._cluster or address, security=security, timeout=CONNECT, set_as_default=False
            )
        except (OSError, ValueError, TypeError) as error:  # Dask's TimeoutError is an OSError
            self._close_cluster()
            do = "see that the scheduler runs, that the address is its own, and that both use TLS or neither"
            raise SweepError(f"a Dask scheduler at {address}", f"{type(error).__name__}: {error}", do) from error

    @property
    def workers(self) -> int:
        """Workers that are there, or were asked of the queue."""
        return self._asked_for or len(self._client.scheduler_info(n_workers=-1)["workers"])

    @property
    def where(self) -> str:
        """Where jobs run, for people."""
        return f"{self.workers} Dask workers of {self._address}"

    def close(self) -> None:
        """Leave the scheduler; end the workers that the queue started."""
        self._client.close(timeout=5)
        self._close_cluster()

    def outcomes(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> Iterator[Outcome]:
        """Do the jobs and yield how each ended, the first that ends first.

        Raises
        ------
        SweepError    the scheduler is gone, or has no workers
        """
        if not self.workers:
            do = f"start some: dask worker {self._address} --nthreads 1, with the environment that minigrok is in"
            raise SweepError(f"workers at the Dask scheduler {self._address}", "none", do)
        pending = {self._submit(job): (job, 0) for job in jobs}
        try:
            while pending:
                done = self._wait(list(pending))
                for future in done:
                    job, attempts = pending.pop(future)
                    outcome = _outcome(job, future)
                    if outcome.again and attempts < self.retries:
                        pending[self._submit(job)] = job, attempts + 1
                    else:
                        yield outcome
                if stop():
                    yield from (
                        Outcome(str(job["name"]), False, "stopped", stopped=True) for job, _ in pending.values()
                    )
                    return
        finally:
            if pending and self._client.status == "running":
                self._client.cancel(list(pending))

    def _submit(self, job: Job) -> Any:
        key = f"minigrok-{job['name']}-{secrets.token_hex(4)}"
        try:
            return self._client.submit(on_worker, job, key=key, pure=False)
        except RuntimeError as error:  # the client has closed
            raise self._gone() from error

    def _wait(self, futures: Sequence[Any]) -> list[Any]:
        """Wait a moment; return the futures that are done, in whatever way.

        A connection that is lost cancels them all, and Dask tries for `CONNECT` seconds to make a new one.
        """
        time.sleep(POLL)
        if self._client.status == "connecting":
            return []
        if self._client.status != "running":
            raise self._gone()
        return [future for future in futures if future.done()]

    def _gone(self) -> SweepError:
        do = "start a scheduler and the same sweep again: it goes on from the last checkpoints, nothing is lost"
        return SweepError(f"the Dask scheduler at {self._address}", "the connection to it is lost", do)

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            self._cluster.close(timeout=10)


def on_worker(job: Job) -> dict[str, Any]:
    """Do a job in this worker's thread; a plain dict, so that nothing but the job's own text crosses."""
    from distributed import get_worker
    from distributed.worker import thread_state

    worker, key = get_worker(), thread_state.key
    if worker.state.nthreads != 1:
        required, do = "Dask workers of one thread each", "start them with --nthreads 1, several on a machine"
        error = SweepError(required, f"{worker.state.nthreads} threads in {worker.name}", do)
        return asdict(Outcome(str(job["name"]), False, str(error)))

    def unwanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state not in GOING or worker.status.name != "running"

    return asdict(perform_job(job, unwanted))


def _outcome(job: Job, future: Any) -> Outcome:
    """Outcome of a task that has ended, in whatever way."""
    if future.status == "finished":
        return Outcome(**future.result())
    error = future.exception() if future.status == "error" else None
    what = f"{type(error).__name__}: {error}" if error else f"its task was {future.status}"
    return Outcome(str(job["name"]), False, what, again=True)


def _queue(name: str, workers: int, options: Mapping[str, Any], security: Any) -> Any:
    """Start a scheduler here, and workers of one thread as jobs of a queue."""
    if name not in QUEUES:
        raise ConfigError("a job queue that dask-jobqueue knows", repr(name), nearest(name, QUEUES))
    module = _import("dask_jobqueue.local" if name == "local" else "dask_jobqueue")
    fixed: dict[str, Any] = {"cores": 1, "processes": 1, "memory": MEMORY}
    if security is not None:
        fixed |= {"security": security, "protocol": "tls://"}
    try:
        cluster = getattr(module, QUEUES[name])(**(fixed | dict(options)))
        cluster.scale(jobs=workers)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        do = "see the documentation of dask-jobqueue for the options of your queue"
        raise ConfigError(f"options that {QUEUES[name]} takes", f"{type(error).__name__}: {error}", do) from error
    return cluster


def _import(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        do = "pip install '.[distributed]' in minigrok's folder"
        raise EngineError(f"the package {name}", str(error), do) from error
