"""What a measurement depends on: to be kept beside it."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from minigrok.bench import pipe
from minigrok.bench.settings import Settings
from minigrok.info import environment as installation

PEER_PACKAGES = ("torch", "jax", "jaxlib")


def describe(settings: Settings) -> dict[str, Any]:
    """The installation (see `minigrok.info.environment`), the peers' versions, and the state of the machine now.

    Returns
    -------
    dict
        the keys of `minigrok.info.environment`, "blas" as a contender finds it; "unset" for the contenders, {variable:
        value}; "peers" {name: version or None}, "cpus" that contenders are bound to, "load_average" (1, 5 and 15
        minutes: below 0.1 on a quiet machine), "date"
    """
    given = pipe.environment(settings)
    return installation() | {
        "blas": _blas(given),
        "unset": {name: os.environ[name] for name in pipe.SLOWING if name in os.environ.keys() - given.keys()},
        "peers": {name: _version(name) for name in PEER_PACKAGES},
        "cpus": settings.cpus,
        "load_average": list(os.getloadavg()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _blas(given: dict[str, str]) -> Any:
    """Return `minigrok.info.blas` of a process with a contender's environment."""
    code = "import json; from minigrok.info import blas; print(json.dumps(blas()))"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], env=given))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
