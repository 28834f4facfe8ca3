"""What outside a configuration can change a bit: recorded, compared, said or refused."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from minigrok.engine import provenance
from minigrok.errors import EngineError, MinigrokWarning

HERE = Path("runs/mine")
RECORD = "from minigrok.engine import provenance; print(provenance.record())"


def recorded(**environment: str) -> dict[str, str]:
    everything = os.environ | environment
    done = subprocess.run([sys.executable, "-c", RECORD], env=everything, capture_output=True, text=True, check=True)
    return dict(eval(done.stdout))


def test_the_same_is_not_worth_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        provenance.compare(provenance.record(), HERE, portable=True)


def test_what_an_older_minigrok_did_not_record_is_not_compared() -> None:
    older = {key: provenance.record()[key] for key in ("version", "python", "numpy", "numba", "safetensors")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        provenance.compare(older | {"format": 1, "config_hash": "ab"}, HERE, portable=True)
        provenance.compare({}, HERE, portable=True)


@pytest.mark.parametrize("key", [key for key in provenance.record() if key not in provenance.SAID_ONLY])
def test_another_version_is_said_and_a_portable_run_refuses_it(key: str) -> None:
    other = provenance.record() | {key: "0.1"}
    with pytest.warns(MinigrokWarning, match=r"begun with .* 0\.1; here: "):
        provenance.compare(other, HERE, portable=False)
    with pytest.raises(EngineError, match=r"--other-versions") as error:
        provenance.compare(other, HERE, portable=True)
    assert "0.1" in error.value.required
    assert provenance.record()[key] in error.value.got
    with pytest.warns(MinigrokWarning, match="may have other bits"):
        provenance.compare(other, HERE, portable=True, other_versions=True)


def test_another_c_library_is_said_alone() -> None:
    with pytest.warns(MinigrokWarning, match="libc"):
        provenance.compare(provenance.record() | {"libc": "other 1"}, HERE, portable=True)


def test_the_record_knows_the_settings_that_change_bits() -> None:
    plain = recorded()
    assert recorded() == plain
    assert recorded(NUMBA_NUM_THREADS="1", OMP_NUM_THREADS="1", PYTHONHASHSEED="3") == plain
    for changed, environment in {
        "numba_settings": {"NUMBA_BOUNDSCHECK": "1"},
        "compiled_for": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2"},
        "blas": {"OPENBLAS_CORETYPE": "Nehalem"},
    }.items():
        assert recorded(**environment)[changed] != plain[changed]
