"""Tables of reconstruction: one row a convention or null, and the whole curves."""

from collections.abc import Sequence

import numpy as np

from minigrok.analyses.base import Row, plain_row
from minigrok.analyses.reconstruction.result import Result, Track


def table(result: Result) -> list[Row]:
    """One row a convention or null; of several draws the mean, "-" where no k passes."""
    names = dict.fromkeys(track.name for track in result.tracks)
    return [_row(result, name, [track for track in result.tracks if track.name == name]) for name in names]


def _row(result: Result, name: str, tracks: list[Track]) -> Row:
    row: Row = {"run": result.run, "step": result.step, "convention": name, "rows": tracks[0].rows}
    first = [track.crossing("test") for track in tracks]
    row["k*"], row["k* stays"] = _mean(first), _mean([t.crossing("test", True) for t in tracks])
    row["k* train"], row["k* train stays"] = (_mean([t.crossing("train", s) for t in tracks]) for s in (False, True))
    out = [100 * t.outside[list(t.ks).index(k)] for t, k in zip(tracks, first, strict=True) if k is not None]
    row["outside at k* %"] = float(np.mean(out)) if len(out) == len(first) else None
    last = [100 * t.outside[-1] for t in tracks if len(t.ks)]
    row["k last"] = int(tracks[0].ks[-1]) if len(tracks[0].ks) else None
    row["test at k last"] = float(np.mean([t.test[-1].min() for t in tracks if len(t.ks)])) if last else None
    row["best test"] = float(np.mean([t.test.min(axis=1).max() for t in tracks if len(t.ks)])) if last else None
    row["outside at k last %"] = float(np.mean(last)) if last else None
    row["PC1 %"] = float(np.mean([100 * t.shares[0] for t in tracks])) if len(tracks[0].shares) else None
    row |= {"final test": float(result.final_test.min()), "token 0": result.token0, "cos(delta, -init)": result.cosine}
    row["after grok"] = result.after
    return plain_row(row)


def _mean(found: Sequence[int | None]) -> float | None:
    """Mean over the draws; None if one of them has none."""
    numbers = [k for k in found if k is not None]
    return float(np.mean(numbers)) if found and len(numbers) == len(found) else None


def points(result: Result) -> list[Row]:
    """One row a convention, draw and k: the whole curves."""
    rows, draws = [], dict.fromkeys((track.name for track in result.tracks), 0)
    for track in result.tracks:
        for i, k in enumerate(track.ks.tolist()):
            row: Row = {"run": result.run, "step": result.step, "convention": track.name, "draw": draws[track.name]}
            row |= {"k": k} | {f"test {task}": float(track.test[i, j]) for j, task in enumerate(result.tasks)}
            rows.append(row | {"train worst": float(track.train[i].min()), "outside": float(track.outside[i])})
        draws[track.name] += 1
    return rows
