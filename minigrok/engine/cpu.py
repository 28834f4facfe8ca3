"""The CPU engine: the layers' own functions compiled by Numba, products by NumPy's BLAS.

Each body is compiled by itself, with the plain functions that it calls; `math.exp` and `math.erf` are replaced by
versions that vectorise (`vector_math`), because Numba's wheels come without SVML. Compiler flags, all in `FLAGS`:

    nogil           shards run in Python threads side by side
    error_model     "numpy": a division is not checked, since a check would stop vectorisation
    fastmath        reassoc and contract only: sums may be reordered and a*b + c fused. NaN and infinity keep
                    their meaning (no nnan, ninf, nsz): a test says so.
    forceinline     a body's small helpers become part of its loops: attention takes half the time, with the same bits

A loop that sums writes nothing, or only the one array that it reads. LLVM compiles a loop that reads one array and
writes another twice, vectorised and not, and chooses at run time by how far the arrays lie apart: the order of a sum in
it would depend on where malloc put them.
"""

import math
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba

from minigrok.engine import vector_math
from minigrok.engine.base import Body, Engine
from minigrok.engine.cache import Cache, is_kept, usable_folder
from minigrok.errors import EngineError

FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}, "forceinline": True}
VECTORISED: dict[Any, Any] = {math.exp: vector_math.exp, math.erf: vector_math.erf}


class CpuEngine(Engine):
    """Numba and BLAS on the calling thread. One engine serves one thread at a time."""

    name = "cpu"

    def __init__(self, dtype: Any) -> None:
        if numba.config.DISABLE_JIT:
            do = "unset NUMBA_DISABLE_JIT, or take --engine plain, which a debugger can step through"
            raise EngineError("compiled kernels for compute.engine = 'cpu'", "NUMBA_DISABLE_JIT is set", do)
        usable_folder()  # refused now, before anything is made
        super().__init__(dtype)

    def kernel(self, body: Body) -> Callable[..., Any]:
        """Return `body` compiled."""
        return compiled(body)


_compiled: dict[Body, Callable[..., Any]] = {}
_one_compiler = threading.RLock()  # the table belongs to all threads


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
    dispatcher = numba.njit(copy, **FLAGS)
    folder = usable_folder()
    if folder and is_kept(body):
        dispatcher._cache = Cache(copy, folder)
    return dispatcher  # type: ignore[no-any-return]


def _callable(value: Any) -> Any:
    if isinstance(value, FunctionType):
        return compiled(value)
    return VECTORISED.get(value, value) if callable(value) else value
