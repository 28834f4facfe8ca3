import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minigrok.config import Config, Model, Task
from minigrok.errors import RunFolderError
from minigrok.storage.runs import Run, create

HEADER = "step,loss,done,crc32"
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
    row = "1,0.10000000149011612,1e-300"
    assert text == f"{HEADER}\n{row},{crc32(row.encode(), crc32(HEADER.encode()))}\n"


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
    assert path.read_text().startswith("step,loss,crc32\n1,1.0,")


def test_truncating_no_metrics_is_nothing(run: Run) -> None:
    run.truncate_metrics(100)
    assert run.metrics() == {}


@pytest.mark.parametrize("line", ["1", "1,2,3", "1,abc", "", "\x00\x00"])
def test_a_damaged_line_is_named(run: Run, line: str) -> None:
    (run.folder / "metrics.csv").write_text(f"step,loss\n1,1.0\n{line}\n200,1.0\n")
    for action in (run.metrics, lambda: run.truncate_metrics(100)):
        with pytest.raises(RunFolderError, match=r"2 numbers in line 3 of .*metrics\.csv"):
            action()


def three_rows(run: Run) -> bytes:
    for step in (1, 100, 200):
        run.append_metrics({"step": step, "loss": 1 / step})
    return (run.folder / "metrics.csv").read_bytes()


def test_every_flipped_bit_is_seen(run: Run) -> None:
    whole, path = three_rows(run), run.folder / "metrics.csv"
    for at in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(RunFolderError):
            run.metrics()


def test_a_lost_moved_or_changed_row_is_seen(run: Run) -> None:
    whole, path = three_rows(run), run.folder / "metrics.csv"
    header, one, two, three = whole.splitlines(keepends=True)
    for lines in ([one, three], [two, one, three], [two, three], [one, two.replace(b"0.01", b"0.02"), three]):
        path.write_bytes(header + b"".join(lines))
        with pytest.raises(RunFolderError, match=r"in line [23] of"):
            run.metrics()


def test_the_row_of_a_second_writer_is_left_out_and_dropped(run: Run) -> None:
    whole, path = three_rows(run), run.folder / "metrics.csv"
    again = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole + again)
    assert run.metrics()["step"].tolist() == [1, 100, 200]
    run.truncate_metrics(200)
    assert path.read_bytes() == whole


def test_a_row_is_added_only_where_this_process_left_the_table(run: Run) -> None:
    three_rows(run)
    path = run.folder / "metrics.csv"
    path.write_bytes(path.read_bytes() + b"300,0.1,1\n")
    before = path.read_bytes()
    with pytest.raises(RunFolderError, match="as this process left it"):
        run.append_metrics({"step": 300, "loss": 1.0})
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", [lambda data: data.replace(b"\n", b"\r\n"), lambda data: b"\xef\xbb\xbf" + data])
def test_a_table_that_a_spreadsheet_saved_is_the_same(run: Run, change: Callable[[bytes], bytes]) -> None:
    whole, path = three_rows(run), run.folder / "metrics.csv"
    before = run.metrics()
    path.write_bytes(change(whole))
    assert {name: x.tolist() for name, x in run.metrics().items()} == {name: x.tolist() for name, x in before.items()}
    run.truncate_metrics(200)
    assert path.read_bytes() == whole


def test_a_table_without_checksums_is_read_and_goes_on_without(run: Run) -> None:
    path = run.folder / "metrics.csv"
    path.write_text("step,loss\n1,1.0\n")
    run.append_metrics({"step": 100, "loss": 0.5})
    assert path.read_text() == "step,loss\n1,1.0\n100,0.5\n"
    assert run.metrics()["loss"].tolist() == [1.0, 0.5]
