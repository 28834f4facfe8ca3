"""No timing of wrong numbers: every peer must compute what minigrok computes before it is timed.

Compared are, at the same theta and on the same pairs: for a training step the loss, the gradient, the losses of three
steps and where they lead; for Hv the product; for an evaluation loss and accuracy. Errors are Euclidean norms relative
to minigrok's; that minigrok itself is right is what its tests are for.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from minigrok.bench.pipe import PeerError, Worker
from minigrok.bench.settings import CONTENDERS
from minigrok.engine import Array

LIMITS = {  # largest relative errors: our choice, some 10 times what rounding explains in float32
    "loss": {"float32": 1e-5, "float64": 1e-10},
    "grad": {"float32": 1e-5, "float64": 1e-10},
    "losses": {"float32": 1e-5, "float64": 1e-10},
    "update": {"float32": 1e-2, "float64": 1e-6},  # Adam divides by gradients, however small
    "hvp": {"float32": 1e-3, "float64": 1e-10},
    "accuracy": {"float32": 0.05, "float64": 0.05},  # a rounding may flip a tie: few right answers at these points
}


def outcome(worker: Worker) -> dict[str, Array]:
    """What a worker computes, brought over in a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "outcome.npz")
        worker.ask("outcome", file=str(path))
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)


def error(found: Array, expected: Array) -> float:
    """Norm of the difference, relative to the norm of what is expected; NaN counts as infinitely wrong."""
    if found.shape != expected.shape:
        return float("inf")
    difference = float(np.linalg.norm(np.subtract(found, expected, dtype=np.float64)))
    size = float(np.linalg.norm(expected.astype(np.float64)))
    relative = difference / size if size else difference
    return relative if np.isfinite(relative) else float("inf")


def require_agreement(name: str, found: dict[str, Array], expected: dict[str, Array], dtype: str) -> dict[str, float]:
    """Errors of a contender's outcome against minigrok's.

    Parameters
    ----------
    name : str                     of the contender
    found, expected : dict         outcomes of the contender and of minigrok
    dtype : str                    of the work: decides the limits

    Returns
    -------
    dict of name to float

    Raises
    ------
    PeerError
        An error above its limit: the benchmark refuses to time this contender.
    """
    errors = {key: error(found[key], expected[key]) for key in expected}
    for key, size in errors.items():
        limit = LIMITS[key][dtype]
        if size > limit:
            raise PeerError(
                f"{CONTENDERS[name].label} to compute minigrok's {key} to {limit:g} in {dtype} before it is timed",
                f"a relative difference of {size:.1e}",
                "correct whichever is wrong (minigrok check; pytest -m oracle), or leave this peer out with --peers",
            )
    return errors
