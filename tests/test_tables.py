"""Tables of analyses in a terminal: no number is cut, whatever the width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minigrok_cli import tables
from minigrok_cli.tables import cell, print_rows

ROWS = [
    {"run": "one", "part": part, "k": k, "share": 0.123456 * k, "steps": 10_100.0 * k, "none": None, "says": "w " * 60}
    for part in ("attention", "all")
    for k in (1, 2)
]


def printed(rows: list[dict[str, object]], width: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "PIPE_WIDTH", width)
        print_rows("title", rows)
    return capsys.readouterr().out.splitlines()


def words(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split()}


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_number_is_whole_and_no_line_is_too_long(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(ROWS, width, capsys)
    assert max(map(len, lines)) <= width
    assert {"0.1235", "0.2469", "10100", "20200"} <= words(lines)
    assert not any("…" in line for line in lines)


def test_every_part_has_the_columns_that_tell_the_rows_apart(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(ROWS, 28, capsys)
    heads = [line.split() for line in lines if line.split()[:1] == ["part"]]
    assert len(heads) > 1
    assert all(head[:2] == ["part", "k"] for head in heads)
    assert sorted(word for head in heads for word in head[2:]) == ["share", "steps"]


def test_what_is_the_same_in_all_rows_is_said_once_and_what_is_nowhere_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(ROWS, 200, capsys)
    assert sum("one" in line for line in lines) == 1
    assert lines[1].startswith("in all rows: run one, says w w")
    assert "none" not in words(lines)


def test_one_row_is_shown_whole_and_no_row_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"one", "attention", "0.1235"} <= words(printed(ROWS[:1], 200, capsys))
    assert printed([], 200, capsys) == ["title: no rows"]


def test_rows_that_nothing_tells_apart_are_still_shown(capsys: pytest.CaptureFixture[str]) -> None:
    twins: list[dict[str, object]] = [{"a": 1, "b": x} for x in (1, 2, 2)]
    assert [line.split() for line in printed(twins, 80, capsys) if line.strip()[:1].isdigit()] == [["1"], ["2"], ["2"]]


def test_rows_that_are_all_alike_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    alike: list[dict[str, object]] = [{"a": 1, "b": "x"}] * 2
    assert printed(alike, 80, capsys)[:2] == ["title", "in all rows: a 1, b x"]


@given(st.floats(-1e300, 1e300))
def test_a_number_has_four_digits_or_is_whole(x: float) -> None:
    assert float(cell(x)) == pytest.approx(x, rel=5.1e-4)
    assert len(cell(x)) <= 11


def test_steps_have_no_exponent_and_nothing_is_a_dash() -> None:
    assert [cell(x) for x in (10_100.0, 12_345.6, 1e7, 0.05, 7, None, float("nan"))] == [
        *("10100", "12346", "1e+07", "0.05", "7", "-", "-")
    ]
