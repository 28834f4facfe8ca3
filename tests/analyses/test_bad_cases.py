"""Every analysis of the registry on runs that are not as it hopes: a result, or an error in three parts."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import perform
from minigrok.config import preset, with_settings
from minigrok.errors import MinigrokError

GRID = range(0, 1300, 100)
QUICK = {"draws": 100, "surrogates": 5, "most": 4, "repeats": 1, "sweep": 1, "windows": 3, "products": 8, "probes": 2}
SLOW = ("no snapshot", "never memorised", "p = 5", "one task", "no evaluation")  # each draws thirty figures
CASES = ("one snapshot", "half-written", *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW))


def run_of(case, folder):
    """Make the run of a case."""
    settings = {"p = 5": ["task.p=5"], "one task": ['task.operations=["sq"]']}.get(case, [])
    config = with_settings(preset("tiny"), [*SMALL, *settings])
    steps = {"no snapshot": (), "one snapshot": (0,)}.get(case, GRID)
    test = [] if case == "no evaluation" else [rises(9)] * len(config.task.operations)
    train = [rises(None)] * len(test) if case == "never memorised" else None
    run = make(folder, test, train, settings=settings, thetas=walk(config, steps))
    if case == "half-written":  # killed in the middle of a row, and of an analysis
        (folder / "snapshots" / "001300.safetensors.tmp").write_bytes(b"half")
        with (folder / "metrics.csv").open("a") as file:
            file.write("2100,0.5,0.")
        for name in ANALYSES:
            (folder / "analysis" / name / "parts").mkdir(parents=True)
            (folder / "analysis" / name / "parts" / "000000.npz").write_bytes(b"half")
            (folder / "analysis" / name / "arrays.npz").write_bytes(b"half")  # before its result.json
    return run


def outcome(analysis, run):
    """What comes out: the rows and the bytes of the files, or the three parts of the error."""
    fields = analysis.settings.__dataclass_fields__
    settings = analysis.settings(**{name: value for name, value in QUICK.items() if name in fields})
    try:
        done = perform(analysis, [run], settings)
    except MinigrokError as error:
        return (error.required, error.got, error.do), None
    return done.rows, [(done.folder / n).read_bytes() for n in ("result.json", "arrays.npz", "table.csv", "figure.png")]


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("case", CASES)
def test_says_what_is_missing_and_twice_the_same(case, name, tmp_path):
    run = run_of(case, tmp_path / "run")
    said, files = outcome(ANALYSES[name], run)
    assert said
    if files is None:
        assert all(isinstance(part, str) and part for part in said)
    assert outcome(ANALYSES[name], run) == (said, files)


READ_NONE = ("grok_order", "dose_response", "phase")


@pytest.mark.parametrize("name", [name for name in ANALYSES if name not in READ_NONE])
def test_a_damaged_snapshot_is_named(name, tmp_path):
    run = run_of("plain", tmp_path / "run")
    (run.folder / "snapshots" / "001200.safetensors").write_bytes(b"half")
    said, files = outcome(ANALYSES[name], run)
    assert files is None
    assert "001200" in " ".join(said)


def test_a_run_as_it_should_be_gives_a_result_from_every_analysis(tmp_path):
    run = run_of("plain", tmp_path / "run")
    for name, analysis in ANALYSES.items():
        said, files = outcome(analysis, run)
        assert files is not None, f"{name}: {said}"
        assert np.frombuffer(files[3][:8], "S8")[0].startswith(b"\x89PNG")
