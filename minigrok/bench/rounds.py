"""Bursts in turn: every contender works for some seconds, then the next; and so on for some rounds.

A machine drifts between speeds, so numbers are compared within a round only: the ratio of a peer is the median over the
rounds of its median time divided by minigrok's in the same round.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from minigrok.bench.gate import outcome, require_agreement
from minigrok.bench.pipe import PeerError, Worker
from minigrok.bench.settings import CONTENDERS, OWN, Progress, Settings, obstacle
from minigrok.peers.problem import Work

PAUSE = 0.2  # seconds between bursts, in which the last one's idle threads fall asleep: our choice


class Entry(NamedTuple):
    """One contender at one work."""

    contender: str
    work: Work


Row = dict[str, Any]  # an entry's result, JSON-able


def entries(settings: Settings, *works: Work) -> list[Entry]:
    """Every contender at every work; torch.compile at single directions only, since each work costs a minute more."""
    return [
        Entry(name, work)
        for work in works
        for name in settings.contenders
        if not (name == "compile" and work.directions > 1)
    ]


def measure(chosen: Sequence[Entry], settings: Settings, progress: Progress) -> list[Row]:
    """Measure entries against one another.

    Parameters
    ----------
    chosen : sequence of Entry
        minigrok's entry of a work stands before the peers' entries of that work.
    settings : Settings
    progress : Progress

    Returns
    -------
    list of dict
        A row an entry: "contender", "label", "work", "note"; "error" why it has no numbers, or else
        "median_ms", "quartiles_ms", "calls", "cores", "bursts_ms", "peak_bytes", and for a peer "ratio"
        {median, low, high} to minigrok at the same work and "errors" against it.

    Raises
    ------
    PeerError
        A peer computes something else, or minigrok itself fails.
    """
    total = len(chosen) * (1 + settings.bursts)
    with ExitStack() as stack:
        workers, rows = [], []
        for i, entry in enumerate(chosen):
            progress(i, total, f"{CONTENDERS[entry.contender].label}: getting ready")
            worker, row = _open(entry, settings, stack)
            workers.append(worker)
            rows.append(row)
        _check(workers, rows)
        bursts = _bursts(workers, rows, settings, progress)
        for worker, row, seen in zip(workers, rows, bursts, strict=True):
            if worker:
                row |= _summary(seen) | worker.ask("memory")
                row |= _flop(worker, row)
        progress(total, total, "done")
    for row in rows:
        _compare(row, _own(rows, row))
    return rows


def _open(entry: Entry, settings: Settings, stack: ExitStack) -> tuple[Worker | None, Row]:
    """Start a worker; a peer that is missing or cannot do the work gets a row that says so."""
    label = CONTENDERS[entry.contender].label
    row: Row = {"contender": entry.contender, "label": label, "work": asdict(entry.work)}
    if missing := obstacle(entry.contender):
        return None, row | {"error": missing}
    worker = stack.enter_context(Worker(entry.contender, settings))
    try:
        return worker, row | {"note": worker.open(entry.work)}
    except PeerError as error:
        if entry.contender == OWN:
            raise
        worker.close()
        return None, row | {"error": error.got}


def _check(workers: Sequence[Worker | None], rows: Sequence[Row]) -> None:
    """Compare every peer with minigrok at the same work; see `gate`."""
    expected: dict[str, Any] = {}
    for worker, row in zip(workers, rows, strict=True):
        if worker is None or row["contender"] == "sgemm":
            continue
        found, key = outcome(worker), str(row["work"])
        if row["contender"] == OWN:
            expected[key] = found
        else:
            row["errors"] = require_agreement(row["contender"], found, expected[key], row["work"]["dtype"])


def _bursts(
    workers: Sequence[Worker | None], rows: Sequence[Row], settings: Settings, progress: Progress
) -> list[list[Row]]:
    """Answers of every worker, round by round; none where there is no worker."""
    answers: list[list[Row]] = [[] for _ in workers]
    done, total = len(workers), len(workers) * (1 + settings.bursts)
    for i in range(settings.bursts):
        for worker, row, seen in zip(workers, rows, answers, strict=True):
            progress(done, total, f"round {i + 1} of {settings.bursts}: {row['label']}")
            done += 1
            if worker:
                time.sleep(PAUSE)
                seen.append(worker.ask("burst", seconds=settings.seconds))
    return answers


def _summary(bursts: Sequence[Row]) -> Row:
    """Medians and quartiles of the times of an entry, in ms."""
    times = 1e3 * np.concatenate([burst["times"] for burst in bursts])
    low, middle, high = np.percentile(times, [25, 50, 75]).tolist()
    return {
        "median_ms": middle,
        "quartiles_ms": [low, high],
        "calls": len(times),
        "cores": median(burst["cores"] for burst in bursts),
        "bursts_ms": [1e3 * median(burst["times"]) for burst in bursts],
    }


def _flop(worker: Worker, row: Row) -> Row:
    """Operations of a call and their rate, where they are counted: minigrok's step, and the products alone."""
    counted = row["contender"] == "sgemm" or (row["contender"] == OWN and row["work"]["kind"] == "step")
    if not counted:
        return {}
    flop = worker.ask("flop")["flop"]
    return {"flop": flop, "gflop_per_s": flop / row["median_ms"] / 1e6}


def _own(rows: Sequence[Row], row: Row) -> Row | None:
    """Row of minigrok at the same work."""
    same = [other for other in rows if other["contender"] == OWN and other["work"] == row["work"]]
    return same[0] if same else None


def _compare(row: Row, own: Row | None) -> None:
    """Add how many times minigrok's time a peer takes: median, smallest and largest of the rounds."""
    if own is None or own is row or "bursts_ms" not in row:
        return
    ratios = [theirs / ours for theirs, ours in zip(row["bursts_ms"], own["bursts_ms"], strict=True)]
    row["ratio"] = {"median": median(ratios), "low": min(ratios), "high": max(ratios)}
