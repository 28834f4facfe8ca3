"""The CPU engine: the layers' own functions compiled by Numba, products by NumPy's BLAS.

Each body is compiled by itself, with the plain functions that it calls; `math.exp` and `math.erf` are replaced by
versions that vectorise (`vector_math`), because Numba's wheels come without SVML. Compiler flags, all in `FLAGS`:

    nogil           shards run in Python threads side by side
    error_model     "numpy": a division is not checked, since a check would stop vectorisation
    fastmath        reassoc and contract only: sums may be reordered and a*b + c fused. NaN and infinity keep
                    their meaning (no nnan, ninf, nsz): a test says so.
    forceinline     a body's small helpers become part of its loops: attention takes half the time, with the same bits
"""

import hashlib
import math
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numba

from minigrok.engine import vector_math
from minigrok.engine.base import Body, Engine

FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}, "forceinline": True}
VECTORISED: dict[Any, Any] = {math.exp: vector_math.exp, math.erf: vector_math.erf}


class CpuEngine(Engine):
    """Numba and BLAS on the calling thread. One engine serves one thread at a time."""

    name = "cpu"

    def kernel(self, body: Body) -> Callable[..., Any]:
        """Return `body` compiled."""
        return compiled(body)


_compiled: dict[Body, Callable[..., Any]] = {}
_one_compiler = threading.RLock()  # the table and Numba's cache setting belong to all threads


def compiled(body: Body) -> Callable[..., Any]:
    """Return `body`, and the plain functions that it calls, compiled for this CPU; kept on disk.

    Parameters
    ----------
    body : function
        Plain Python that Numba understands; its globals may be modules, numbers and such functions.
    """
    if body not in _compiled:
        with _one_compiler:
            if body not in _compiled:
                _compiled[body] = _compile(body)
    return _compiled[body]


def _compile(body: Body) -> Callable[..., Any]:
    assert isinstance(body, FunctionType)
    names = {name: body.__globals__[name] for name in body.__code__.co_names if name in body.__globals__}
    calls = {name: _callable(value) for name, value in names.items()}
    copy = FunctionType(body.__code__, {**body.__globals__, **calls}, body.__name__)
    copy.__module__, copy.__qualname__ = body.__module__, body.__qualname__
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(cache_folder())
    try:
        return numba.njit(copy, cache=True, **FLAGS)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before


def _callable(value: Any) -> Any:
    if isinstance(value, FunctionType):
        return compiled(value)
    return VECTORISED.get(value, value) if callable(value) else value


COMPILED = ("engine/*.py", "layers/*.py", "network/evaluation.py", "training/optim.py", "training/planes.py")


@cache
def cache_folder() -> Path:
    """Folder of the compiled functions: its name holds a hash of the sources of all bodies, `COMPILED`.

    Numba's own key is the file of the function alone, so a change in a function that it calls would go unnoticed.
    `NUMBA_CACHE_DIR` moves the folder; default: minigrok/numba in the user's cache folder (XDG_CACHE_HOME).
    """
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for source in sorted(path for pattern in COMPILED for path in package.glob(pattern)):
        digest.update(source.read_bytes())
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(os.environ.get("NUMBA_CACHE_DIR") or user / "minigrok" / "numba")
    return root / digest.hexdigest()[:16]
