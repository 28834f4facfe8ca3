"""The address of a Dask scheduler: a wrong one is a clear error within seconds, before Dask is asked."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minigrok.errors import ConfigError, SweepError
from minigrok.experiments import on_dask
from minigrok.experiments.on_dask import Tls, require_scheduler


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server, f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "tcp://127.0.0.1", "http://127.0.0.1:8787", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:port", ""),
        *(
            "tcp://[::1",
            "127.0.0.1:",
            "tcp://:8786",
            "inproc://127.0.0.1:1",
            "\x1b[31m",
            "::",
            "a b",
            "tcp:127.0.0.1:1",
        ),
    ],
)
def test_what_is_no_address_is_refused_unasked(address: str) -> None:
    with pytest.raises(ConfigError, match="tcp://host:port"):
        require_scheduler(address, None)


def test_tls_goes_with_certificates_and_certificates_with_tls(tmp_path: Path) -> None:
    missing = Tls("no.pem", "no.pem", "no.pem")
    for address, tls in (("tls://127.0.0.1:1", None), ("tcp://127.0.0.1:1", missing)):
        with pytest.raises(ConfigError, match="give --tls-ca-file"):
            require_scheduler(address, tls)
    with listening() as (_, address), pytest.raises(ConfigError, match="PEM files"):
        require_scheduler(f"tls://{address}", missing)


def test_whoever_is_silent_or_gone_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_dask, "ANSWER", 0.5)
    start = time.monotonic()
    with listening() as (_, address), pytest.raises(SweepError, match=r"no greeting.*both use TLS or neither"):
        require_scheduler(f"tcp://{address}", None)  # as a scheduler with TLS: it waits for the client's hello
    for other in ("tcp://127.0.0.1:1", f"tcp://{address}", "tcp://no.such.host.invalid:8786"):
        with pytest.raises(SweepError, match="a Dask scheduler at"):
            require_scheduler(other, None)
    assert time.monotonic() - start < 20


def test_whoever_greets_may_be_one() -> None:
    with listening() as (server, address):

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"hello")

        thread = threading.Thread(target=greet)
        thread.start()
        require_scheduler(address, None)
        thread.join()
