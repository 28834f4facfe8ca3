"""`minigrok.info` tells the truth and can be written as JSON."""

import json
import sys

import numba
import numpy
import scipy

from minigrok import __version__
from minigrok.analyses import ANALYSES
from minigrok.config import preset_names
from minigrok.config.arms import ARMS
from minigrok.engine import ENGINES
from minigrok.info import info
from minigrok.layers import LAYERS

FOUND = info()


def test_everything_survives_json():
    assert json.loads(json.dumps(FOUND)) == FOUND


def test_versions_are_those_that_run():
    assert FOUND["minigrok"] == __version__
    assert FOUND["python"] == sys.version.split()[0]
    for module in (numpy, numba, scipy):
        assert FOUND["packages"][module.__name__] == module.__version__


def test_blas_names_its_kernel():
    assert {"library", "version", "kernel", "threads"} <= FOUND["blas"][0].keys()


def test_lists_are_the_registries():
    available = {engine["name"] for engine in FOUND["engines"] if engine["available"]}
    assert available - {"cuda"} == set(ENGINES)
    assert [preset["name"] for preset in FOUND["presets"]] == preset_names()
    assert [layer["name"] for layer in FOUND["layers"]] == [layer.name for layer in LAYERS]
    assert [arm["name"] for arm in FOUND["arms"]] == list(ARMS)[1:]
    assert [analysis["name"] for analysis in FOUND["analyses"]] == list(ANALYSES)


def test_presets_say_what_they_are():
    parameters = {preset["name"]: preset["parameters"] for preset in FOUND["presets"]}
    assert (parameters["dual"], parameters["tri"]) == (302_914, 315_427)
    assert all(len(preset["description"]) > 20 for preset in FOUND["presets"])
