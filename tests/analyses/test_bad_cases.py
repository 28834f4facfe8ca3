"""Every analysis of the registry on runs that are not as it hopes: a result, or an error in three parts."""

import numpy as np
import pytest
from quick import quick
from synthetic_runs import ROWS, SMALL, make, rises, walk

from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import perform
from minigrok.config import preset, with_settings
from minigrok.errors import MinigrokError

GRID = range(0, 1300, 100)
METRICS_ALONE = ("grok_order",)
# each draws thirty figures
SLOW = ("half-written", "no snapshot", "never memorised", "p = 5", "one task", "no evaluation", "no motion", "width 4")
CASES = ("one snapshot", *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW))


SETTINGS = {"p = 5": ["task.p=5"], "one task": ['task.operations=["sq"]'], "width 4": ["model.width=4"]}
STEPS = {"no snapshot": (), "one snapshot": (0,), "width 4": range(0, 2000, 100)}  # more than a matrix has entries


FINITE_ENDS = {"huge weights": 1e30, "huge weights in float64": 1e200, "tiny weights": 1e-30, "all weights 0": 0.0}
# each draws thirty figures
EXTREME = ("diverged", *(pytest.param(case, marks=pytest.mark.slow) for case in ("metrics of NaN", *FINITE_ENDS)))


def extreme_run(case, folder):
    """Make a run that went where numbers end."""
    wide = ["compute.dtype=float64"] if "float64" in case else []
    config = with_settings(preset("tiny"), [*SMALL, *wide])
    thetas = walk(config, GRID, dtype=np.dtype(config.compute.dtype))
    thetas = {step: theta * theta.dtype.type(FINITE_ENDS.get(case, 1)) for step, theta in thetas.items()}
    loss, norm = np.full((2, ROWS), 0.01), np.linspace(50, 20, ROWS)
    if case in ("diverged", "metrics of NaN"):
        loss[:, 15:], norm[15:] = np.nan, np.inf
    if case == "diverged":
        thetas[1100][5], thetas[1200][:] = np.inf, np.nan
    return make(folder, [rises(9)] * 2, None, loss, norm, settings=wide, thetas=thetas)


def run_of(case, folder):
    """Make the run of a case."""
    settings, size = SETTINGS.get(case, []), 0 if case == "no motion" else 0.01
    config = with_settings(preset("tiny"), [*SMALL, *settings])
    test = [] if case == "no evaluation" else [rises(9)] * len(config.task.operations)
    train = [rises(None)] * len(test) if case == "never memorised" else None
    thetas = walk(config, STEPS.get(case, GRID), size=size)
    run = make(folder, test, train, settings=settings, thetas=thetas)
    if case == "half-written":  # killed in the middle of a row, and of an analysis
        (folder / "snapshots" / "001300.safetensors.tmp").write_bytes(b"half")
        with (folder / "metrics.csv").open("a") as file:
            file.write("2100,0.5,0.")
        for name in ANALYSES:
            (folder / "analysis" / name / "parts").mkdir(parents=True)
            (folder / "analysis" / name / "parts" / "000000.part").write_bytes(b"half")
            (folder / "analysis" / name / "arrays.npz").write_bytes(b"half")  # before its result.json
    return run


def outcome(analysis, run, protocol="exact"):
    """What comes out: the rows and the bytes of the files, or the three parts of the error."""
    try:
        done = perform(analysis, [run], quick(analysis.name, protocol=protocol))
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


@pytest.mark.filterwarnings("ignore")  # of NumPy and matplotlib, about what is not finite
@pytest.mark.parametrize("protocol", ["exact", "paper"])
@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("case", EXTREME)
def test_where_numbers_end_there_is_a_table_or_a_reason(case, name, protocol, tmp_path):
    said, files = outcome(ANALYSES[name], extreme_run(case, tmp_path / "run"), protocol)
    if files is None:
        assert all(said)
        assert case != "diverged" or "finite" in said[0]
    else:
        assert case != "diverged" or name in METRICS_ALONE
        assert not any(isinstance(cell, float) and np.isnan(cell) for row in said for cell in row.values())


READ_NONE = ("grok_order", "dose_response", "phase")


@pytest.mark.parametrize("name", [name for name in ANALYSES if name not in READ_NONE])
def test_a_damaged_snapshot_is_named(name, tmp_path):
    run = run_of("plain", tmp_path / "run")
    (run.folder / "snapshots" / "001200.safetensors").write_bytes(b"half")
    said, files = outcome(ANALYSES[name], run)
    assert files is None
    assert "001200" in " ".join(said)


@pytest.mark.slow
def test_a_run_as_it_should_be_gives_a_result_from_every_analysis(tmp_path):
    run = run_of("plain", tmp_path / "run")
    for name, analysis in ANALYSES.items():
        said, files = outcome(analysis, run)
        assert files is not None, f"{name}: {said}"
        assert np.frombuffer(files[3][:8], "S8")[0].startswith(b"\x89PNG")
