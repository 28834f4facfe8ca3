import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minigrok.config import Config, Model, Task
from minigrok.errors import RunFolderError
from minigrok.storage.runs import Run, create

SMALL = Config("small", task=Task(p=5), model=Model(width=4, heads=2, mlp_width=3, blocks=2))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create(tmp_path / "runs" / "small", SMALL)


finite_or_not = st.floats(allow_nan=True, allow_infinity=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.tuples(finite_or_not, finite_or_not), min_size=1, max_size=4))
def test_metrics_keep_every_bit(tmp_path: Path, rows: list[tuple[float, float]]) -> None:
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    run = create(tmp_path / "run", SMALL)
    for step, (loss, accuracy) in enumerate(rows):
        run.append_metrics({"step": step, "loss": loss, "accuracy": accuracy})
    columns = run.metrics()
    assert list(columns) == ["step", "loss", "accuracy"]
    assert columns["step"].dtype == np.int64
    assert columns["step"].tolist() == list(range(len(rows)))
    for name, i in (("loss", 0), ("accuracy", 1)):
        assert columns[name].dtype == np.float64
        assert [repr(value) for value in columns[name].tolist()] == [repr(row[i]) for row in rows]


def test_numpy_numbers_are_numbers(run: Run) -> None:
    run.append_metrics({"step": np.int64(1), "loss": np.float32(0.1), "done": np.float64(1e-300)})
    text = (run.folder / "metrics.csv").read_text()
    assert text == "step,loss,done\n1,0.10000000149011612,1e-300\n"


def test_the_columns_are_fixed(run: Run) -> None:
    run.append_metrics({"step": 1, "loss": 2.0})
    before = (run.folder / "metrics.csv").read_bytes()
    for row in ({"step": 2}, {"loss": 2.0, "step": 2}, {"step": 2, "loss": 1.0, "more": 1.0}):
        with pytest.raises(RunFolderError, match=r"columns of .*metrics\.csv: step, loss"):
            run.append_metrics(row)
    assert (run.folder / "metrics.csv").read_bytes() == before


def test_half_a_line_is_left_out_and_dropped(run: Run) -> None:
    for step in (1, 100, 200):
        run.append_metrics({"step": step, "loss": 1.0})
    path = run.folder / "metrics.csv"
    whole = path.read_bytes()
    path.write_bytes(whole + b"300,0.")
    assert run.metrics()["step"].tolist() == [1, 100, 200]
    with pytest.raises(RunFolderError, match="half a line"):
        run.append_metrics({"step": 300, "loss": 1.0})
    run.truncate_metrics(1000)
    assert path.read_bytes() == whole
    run.truncate_metrics(100)
    assert run.metrics()["step"].tolist() == [1, 100]
    run.append_metrics({"step": 200, "loss": 1.0})
    assert path.read_bytes() == whole


def test_half_a_header_is_dropped(run: Run) -> None:
    path = run.folder / "metrics.csv"
    path.write_bytes(b"step,lo")
    assert run.metrics() == {}
    run.truncate_metrics(0)
    run.append_metrics({"step": 1, "loss": 1.0})
    assert path.read_text() == "step,loss\n1,1.0\n"


def test_truncating_no_metrics_is_nothing(run: Run) -> None:
    run.truncate_metrics(100)
    assert run.metrics() == {}


@pytest.mark.parametrize("line", ["1", "1,2,3", "1,abc", "", "\x00\x00"])
def test_a_damaged_line_is_named(run: Run, line: str) -> None:
    (run.folder / "metrics.csv").write_text(f"step,loss\n1,1.0\n{line}\n200,1.0\n")
    for action in (run.metrics, lambda: run.truncate_metrics(100)):
        with pytest.raises(RunFolderError, match=r"2 numbers in line 3 of .*metrics\.csv"):
            action()
