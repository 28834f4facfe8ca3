"""What a measurement depends on is kept beside it."""

import json
from datetime import datetime

import fakes
import pytest

from minigrok.bench import environment, pipe
from minigrok.bench.report import kernels
from minigrok.config import with_settings


def test_settings_that_slow_blas_are_unset_for_the_contenders_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    usual = {each["kernel"] for each in environment.describe(fakes.settings())["blas"]}
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    found = environment.describe(fakes.settings())
    assert {each["kernel"] for each in found["blas"]} == usual
    assert found["unset"]["OPENBLAS_CORETYPE"] == "Nehalem"
    said = kernels({"environment": found, "sections": ["profile"]})
    assert said.startswith(f"BLAS: {', '.join(usual)} kernels; unset for the contenders: OPENBLAS_CORETYPE=Nehalem")
    assert "the profile is of this process" in said
    portable = fakes.settings(config=with_settings(fakes.SMALL, ["compute.portable=true"]))
    found = environment.describe(portable)
    assert {each["kernel"] for each in found["blas"]} == {"Haswell"}
    assert "OPENBLAS_CORETYPE" not in found["unset"]


def test_versions_machine_load_and_date(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in pipe.SLOWING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "PEER_PACKAGES", ("numpy", "no-such-package"))
    found = json.loads(json.dumps(environment.describe(fakes.settings())))
    assert found["peers"]["no-such-package"] is None
    assert found["peers"]["numpy"][0].isdigit()
    assert found["cpus"] == fakes.settings().cpus
    assert len(found["load_average"]) == 3
    assert found["unset"] == {}
    assert datetime.fromisoformat(found["date"]).tzinfo is not None
