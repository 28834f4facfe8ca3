"""minigrok: multi-task grokking with exact, hand-written derivatives.

A reference implementation of arXiv:2602.18523 in NumPy and Numba: a small Transformer with its forward,
backward, R-forward and R-backward maps written out, training on modular arithmetic, and the curvature of its
loss.

    import minigrok as mg

The names of `minigrok.api` are here, too. Importing the package imports nothing heavy: a name is imported when it is
asked for.
"""

from typing import TYPE_CHECKING, Any

from minigrok.version import __version__

if TYPE_CHECKING:
    from minigrok.api import Objective, analyse, open, plot, preset, sweep, train

__all__ = ["Objective", "__version__", "analyse", "open", "plot", "preset", "sweep", "train"]


def __getattr__(name: str) -> Any:
    """Return a name of `minigrok.api`."""
    if name not in __all__:
        raise AttributeError(f"module 'minigrok' has no attribute {name!r}; it has {', '.join(__all__)}")
    from minigrok import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
