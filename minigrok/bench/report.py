"""Tables of a benchmark for people; the numbers are those of `suite.run_bench`, unchanged."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Table(NamedTuple):
    """A table with a line of prose below it; a column whose name starts with ">" is flush right."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""


TIMED = ("what", "contender", ">ms", ">quartiles", ">cores", ">GFLOP/s", ">times minigrok", ">over rounds", "how")


def table(name: str, rows: Sequence[Row], settings: Row) -> Table:
    """Return the table of a section.

    Parameters
    ----------
    name : str                 key of `suite.SECTIONS`
    rows : sequence of dict    what the section returned
    settings : dict            of the run
    """
    title = f"{name}: {settings['threads']} threads, {settings['bursts']} rounds of {settings['seconds']:g} s each"
    if name == "load" or settings["loaded"]:
        title += ", beside a busy process"
    if name == "memory":
        return Table("memory: a process that trains 50 steps", ("contender", ">peak MB", ""), list(map(_memory, rows)))
    if name == "startup":
        return Table("startup: new processes", ("what", ">s, median", ">least", ">most"), list(map(_start, rows)))
    if name == "profile":
        return _profile(rows)
    if name == "growth":
        columns = ("size", ">value", "contender", ">ms", ">peak MB", ">times minigrok")
        return Table("growth: a training step", columns, [line for point in rows for line in _point(point)])
    return Table(title, TIMED, list(map(_timed, rows)), _note(rows))


def kernels(report: Row) -> str:
    """Say which kernels BLAS took, and which settings were unset for the contenders."""
    environment = report["environment"]
    found = f"BLAS: {', '.join(dict.fromkeys(each['kernel'] for each in environment['blas']))} kernels"
    if unset := environment["unset"]:
        found += f"; unset for the contenders: {', '.join(f'{name}={value}' for name, value in unset.items())}"
        if "profile" in report["sections"]:
            found += "; the profile is of this process, which has them: unset them for it"
    return found


def what(work: Row) -> str:
    """Words for a work."""
    if work["kind"].startswith("sgemm"):
        which = work["kind"].removeprefix("sgemm-")
        return "products of a step" if which == "step" else f"{which} x {which} products"
    if work["kind"] != "hvp":
        return f"{work['kind']}, {work['dtype']}"
    directions = "1 direction" if work["directions"] == 1 else f"{work['directions']} directions"
    return f"hvp, {work['dtype']}, {work['pairs']}, {directions}"


def _timed(row: Row) -> tuple[str, ...]:
    """Cells of an entry."""
    head = what(row["work"]), row["label"]
    if "error" in row:
        return *head, "-", "-", "-", "-", "-", "-", row["error"]
    rate = f"{row['gflop_per_s']:.1f}" if "gflop_per_s" in row else "-"
    ratio = row.get("ratio")
    compared = (f"{ratio['median']:.2f}", f"{ratio['low']:.2f} .. {ratio['high']:.2f}") if ratio else ("-", "-")
    quartiles = " .. ".join(f"{x:.2f}" for x in row["quartiles_ms"])
    return *head, f"{row['median_ms']:.2f}", quartiles, f"{row['cores']:.2f}", rate, *compared, row["note"]


def _note(rows: Sequence[Row]) -> str:
    """What the section adds to its rows."""
    notes = []
    for row in rows:
        if "share_of_peak" in row:
            notes.append(
                f"minigrok's step: {row['flop'] / 1e9:.2f} GFLOP in matrix products, "
                f"{row['share_of_peak']:.0%} of the best rate of products alone"
            )
        if "times_one_direction" in row:
            times = row["times_one_direction"]
            notes.append(
                f"minigrok's block of {row['work']['directions']} directions takes {times:.2f} times one direction"
            )
    return "; ".join(notes)


def _memory(row: Row) -> tuple[str, ...]:
    return row["label"], f"{row['peak_bytes'] / 1e6:.0f}" if "peak_bytes" in row else "-", row.get("error", "")


def _start(row: Row) -> tuple[str, ...]:
    if "error" in row:
        return row["what"], row["error"], "-", "-"
    seconds = row["seconds"]
    return row["what"], f"{median(seconds):.2f}", f"{min(seconds):.2f}", f"{max(seconds):.2f}"


def _profile(rows: Sequence[Row]) -> Table:
    columns = ("kernel", ">calls", ">ms", ">share", ">GFLOP/s")
    whole = sum(row["ms"] for row in rows)
    lines = list(map(_kernel, rows))
    return Table("profile: the calls of a training step", columns, lines, f"{whole:.1f} ms in all, on one thread")


def _kernel(row: Row) -> tuple[str, ...]:
    rate = f"{row['flop'] / row['ms'] / 1e6:.0f}" if row["flop"] else "-"
    return row["kernel"], str(row["calls"]), f"{row['ms']:.2f}", f"{row['share']:.1%}", rate


def _point(point: Row) -> list[tuple[str, ...]]:
    """One line a contender."""
    return [(point["axis"], str(point["value"]), row["label"], *_size(row)) for row in point["rows"]]


def _size(row: Row) -> tuple[str, str, str]:
    if "error" in row:
        return row["error"], "-", "-"
    ratio = f"{row['ratio']['median']:.2f}" if "ratio" in row else "-"
    return f"{row['median_ms']:.2f}", f"{row['peak_bytes'] / 1e6:.0f}", ratio
