"""The table of arms: every arm has a plane and a range, and its dose maps to the numbers that the table says."""

import math

import pytest

from minigrok.config import Intervention
from minigrok.config.arms import ARMS, BASES
from minigrok.errors import ConfigError


def test_every_arm_has_a_known_plane_and_target():
    assert {arm.target for arm in ARMS.values()} == {"gradient", "update", "decay", "parameters", "filter"}
    assert {arm.basis for name, arm in ARMS.items() if name not in ("none", "slow")} == set(BASES)
    assert [name for name, arm in ARMS.items() if arm.mix is None] == ["none", "slow", "kick", "random_kick"]


@pytest.mark.parametrize("arm", [name for name, arm in ARMS.items() if arm.mix])
def test_dose_0_is_the_identity(arm):
    a, b = ARMS[arm].mix(0.0)
    assert (a, b) == (1, 0)


def test_the_mixes_are_those_of_the_table():
    assert ARMS["deletion"].mix(0.25) == (0.75, 0.25)
    assert ARMS["amplification"].mix(0.25) == (1, 0.25 / 0.75)
    assert ARMS["removal"].mix(0.25) == (1, -0.25)
    assert ARMS["scaling"].mix(0.25) == (0.75, 0)


@pytest.mark.parametrize("dose", [0, 0.1, 0.5, 0.99])
def test_deletion_is_amplification_times_1_minus_s(dose):
    a, b = ARMS["amplification"].mix(dose)
    assert ARMS["deletion"].mix(dose) == pytest.approx(((1 - dose) * a, (1 - dose) * b))


@pytest.mark.parametrize(
    "settings",
    [
        {"arm": "deletio"},
        {"arm": "deletion", "dose": 1.01},
        {"arm": "deletion", "dose": -0.01},
        {"arm": "deletion", "dose": math.nan},
        {"arm": "amplification", "dose": 1.0},
        {"arm": "kick", "dose": math.inf},
        {"arm": "none", "dose": 0.1},
        {"arm": "deletion", "source": ""},
        {"arm": "deletion", "source": "a\nb"},
        {"arm": "norm", "source": "", "basis": "source"},
        {"arm": "deletion", "basis": "sauce"},
        {"arm": "deletion", "start": 0},
        {"arm": "deletion", "rank": 0},
        {"arm": "minus_pc1", "rank": 1},
        {"arm": "deletion", "every": 5},
        {"arm": "kick", "every": -1},
        {"arm": "kick", "support": ["pos_emb"]},
        {"arm": "removal", "support": [""]},
        {"repeat": -1},
        {"repeat": 1.5},
    ],
)
def test_impossible_settings_are_errors(settings):
    with pytest.raises(ConfigError):
        Intervention(**{"source": "x"} | settings)


def test_possible_settings_are_not():
    Intervention("norm", 0.1)
    Intervention("deletion", 1.0, "x")
    Intervention("kick", 1000, "x", every=5)
    Intervention("scaling", 0.1, basis="norm")
    assert Intervention(repeat=3).words == ", repeat 3"
    assert Intervention("deletion", 0.1, "x").words == ", deletion 0.1 from step 500"


def test_an_unknown_arm_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean deletion"):
        Intervention("deletoin", source="x")
