"""The gate lets equal numbers pass and nothing else."""

import numpy as np
import pytest

from minigrok.bench.gate import LIMITS, error, require_agreement
from minigrok.bench.pipe import PeerError

RNG = np.random.default_rng(0)
RIGHT = {key: RNG.standard_normal(50) for key in LIMITS}


def test_error_is_the_norm_of_the_difference_relative_to_the_expected() -> None:
    assert error(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)
    assert error(np.array([3e-3]), np.array([0.0])) == pytest.approx(3e-3)
    assert error(np.zeros(2), np.zeros(3)) == np.inf
    assert error(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == np.inf
    assert error(np.array([1.0, np.inf]), np.array([1.0, 2.0])) == np.inf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("key", LIMITS)
def test_each_quantity_has_a_limit_that_rejects(key: str, dtype: str) -> None:
    limit = LIMITS[key][dtype]
    near = RIGHT | {key: RIGHT[key] * (1 + 0.9 * limit)}
    assert require_agreement("eager", near, RIGHT, dtype)[key] == pytest.approx(0.9 * limit, rel=1e-4)
    with pytest.raises(PeerError, match=rf"PyTorch eager to compute minigrok's {key} to {limit:g} in {dtype}"):
        require_agreement("eager", RIGHT | {key: RIGHT[key] * (1 + 1.1 * limit)}, RIGHT, dtype)


def test_a_quantity_that_is_missing_is_no_agreement() -> None:
    with pytest.raises(KeyError, match="grad"):
        require_agreement("jax", {"loss": RIGHT["loss"]}, {key: RIGHT[key] for key in ("loss", "grad")}, "float32")
