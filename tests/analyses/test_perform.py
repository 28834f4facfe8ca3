"""Settings from text, the cache of parts, and the files of a result."""

import csv
import json
import os
import shutil
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_runs import SMALL, make
from threadpoolctl import threadpool_info, threadpool_limits

from minigrok.analyses import ANALYSES, base, chosen
from minigrok.analyses.base import Analysis, Cost, Work, to_files
from minigrok.analyses.perform import perform, settings_for
from minigrok.analyses.results import performed
from minigrok.checks import Between
from minigrok.config import preset, with_settings
from minigrok.errors import BusyError, ConfigError, RunFolderError
from minigrok.network.params import initial

CONFIG = with_settings(preset("tiny"), SMALL)


@dataclass(frozen=True)
class Settings(base.Settings):
    name = "toy"
    count: Annotated[int, Between(1, 10)] = 3
    scale: Annotated[float, Between(0, 10)] = 1.0


@dataclass(frozen=True)
class Result:
    values: np.ndarray
    total: float


CALLS = []


def compute(runs, settings, work):
    def one(i):
        CALLS.append(i)
        if i == settings.count - 1 and settings.scale == 0.0:
            raise KeyboardInterrupt
        return {"x": work.rng(f"part{i}").standard_normal(2)}

    parts = work.parts([f"{i:03d}" for i in range(settings.count)], one)
    values = np.array([part["x"] for part in parts])
    return Result(values, float(values.sum()))


TOY = Analysis(
    "Does it add up?",
    "ours",
    Settings,
    compute,
    lambda r: [{"total": r.total, "n": None}],
    lambda r: Figure(),
    lambda runs, settings: Cost(1.0, "nothing"),
)


@pytest.fixture
def run(tmp_path):
    CALLS.clear()
    return make(tmp_path / "run", thetas={0: initial(CONFIG), 100: initial(CONFIG)})


def test_a_killed_analysis_computes_only_what_is_missing(run):
    class Killed(Exception):
        pass

    def dies_at_2(runs, settings, work):
        def one(i):
            if i == 2:
                raise Killed
            CALLS.append(i)
            return {"x": work.rng(f"part{i}").standard_normal(2)}

        work.parts([f"{i:03d}" for i in range(3)], one)

    dying = Analysis("?", "ours", Settings, dies_at_2, TOY.table, TOY.figure, TOY.cost)
    with pytest.raises(Killed):
        perform(dying, [run], Settings())
    assert CALLS == [0, 1]
    resumed = perform(TOY, [run], Settings())
    assert CALLS == [0, 1, 2]
    again = compute([run], Settings(), Work(run.config.seed))
    assert np.array_equal(resumed.result.values, again.values)
    assert not (resumed.folder / "parts").exists()


def test_blas_works_on_one_thread_meanwhile_and_on_as_many_as_before_afterwards(run):
    """Two threads wait for each other in small norms, and cut products otherwise: 20 times the time beside load."""

    def threads():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    def counted(runs, settings, work):
        assert set(threads()) == {1}
        return compute(runs, settings, work)

    with threadpool_limits(2, user_api="blas"):
        perform(Analysis("?", "ours", Settings, counted, TOY.table, TOY.figure, TOY.cost), [run], Settings())
        assert set(threads()) == {2}


def test_who_comes_second_to_an_analysis_hears_who_is_at_it(run):
    """And the first one's parts are left alone."""
    heard = []

    def compute_twice(runs, settings, work):
        with pytest.raises(BusyError, match=rf"only writer of .*process {os.getpid()}.* - do: wait") as caught:
            perform(TOY, runs, settings)
        heard.append(caught.value)
        return compute(runs, settings, work)

    first = Analysis("?", "ours", Settings, compute_twice, TOY.table, TOY.figure, TOY.cost)
    done = perform(first, [run], Settings())
    assert len(heard) == 1
    assert performed(first, [run], Settings())
    assert not (done.folder / "parts").exists()
    perform(TOY, [run], Settings())


def test_an_analysis_that_fails_without_parts_leaves_none(run):
    def fails(runs, settings, work):
        raise RunFolderError("more", "less", "train")

    with pytest.raises(RunFolderError, match="less"):
        perform(Analysis("?", "ours", Settings, fails, TOY.table, TOY.figure, TOY.cost), [run], Settings())
    assert not (run.folder / "analysis" / "toy" / "parts").exists()


@pytest.mark.parametrize("when", ["parts", "files"])
def test_a_run_that_is_deleted_is_not_made_again_by_its_analysis(run, when):
    def compute_late(runs, settings, work):
        if when == "parts":
            shutil.rmtree(run.folder)
        result = compute(runs, settings, work)
        if when == "files":
            shutil.rmtree(run.folder)
        return result

    late = Analysis("?", "ours", Settings, compute_late, TOY.table, TOY.figure, TOY.cost)
    with pytest.raises(RunFolderError):
        perform(late, [run], Settings())
    assert not run.folder.exists()


def test_parts_of_other_settings_and_damaged_parts_are_not_used(run, tmp_path):
    work = Work(1, tmp_path / "parts", "key")
    work.part("a", lambda: {"x": np.ones(2)})
    assert work.part("a", lambda: {"x": np.zeros(2)})["x"].tolist() == [1, 1]
    assert Work(1, tmp_path / "parts", "other").part("a", lambda: {"x": np.zeros(2)})["x"].tolist() == [0, 0]
    (tmp_path / "parts" / "a.part").write_bytes(b"half a file")
    assert work.part("a", lambda: {"x": np.full(2, 5.0)})["x"].tolist() == [5, 5]


def test_files_of_a_result(run):
    done = perform(TOY, [run], Settings(count=2))
    stored = json.loads((done.folder / "result.json").read_text())
    assert stored["settings"] == {"protocol": "exact", "count": 2, "scale": 1.0}
    assert stored["result"]["total"] == done.result.total
    with np.load(done.folder / "arrays.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["values"], done.result.values)
    rows = list(csv.DictReader((done.folder / "table.csv").read_text().splitlines()))
    assert float(rows[0]["total"]) == done.result.total
    assert {"figure.png", "figure.svg"} <= {path.name for path in done.folder.iterdir()}


def test_settings_from_text():
    assert settings_for(TOY, "paper", ["count=7", "scale=2"]) == Settings("paper", 7, 2.0)
    for bad, words in [
        ("conut=7", "did you mean count"),
        ("count=many", "count"),
        ("count=11", "between 1 and 10"),
        ("count", "KEY=VALUE"),
        ("protocol=papers", "protocol is one of exact, paper"),
    ]:
        with pytest.raises(ConfigError, match=words):
            settings_for(TOY, "exact", [bad])


def test_nested_results_split_into_scalars_and_arrays():
    content, arrays = to_files({"a": [Result(np.ones(2), 1.0)], "b": np.float64(2.5)})
    assert content["a"][0]["total"] == 1.0
    assert content["b"] == 2.5
    assert list(arrays) == ["a.0.values"]


def test_registry():
    assert chosen("all") == list(ANALYSES.values())
    with pytest.raises(ConfigError, match="did you mean trajectory_pca"):
        chosen("trajectory_pcs")
    for name, analysis in ANALYSES.items():
        assert analysis.name == name
        assert analysis.question.endswith("?")
        assert analysis.settings().protocol == "exact"
