"""Table of subspace: one row a run, basis and vector, then one a pair of bases."""

import numpy as np

from minigrok.analyses.base import Row, plain_row
from minigrok.analyses.subspace.result import VECTORS, Comparison, Result, Track
from minigrok.statistics.intervals import coverage

EMPTY: Row = dict.fromkeys(
    (
        "run basis of K checkpoints energy norm leakage sqrt(K/P) blocks low high ratio rho replay "
        "overlap overlap_random overlap_high smallest smallest_random smallest_low largest draws covers says"
    ).split()
)


def table(result: Result) -> list[Row]:
    """One row a run, basis and vector: medians over the checkpoints; then one a pair of bases."""
    rows = []
    for track in result.tracks:
        for kind in track.shares:
            rows += [_share_row(result, track, kind, v) for v in range(len(VECTORS))]
    rows += [_angle_row(track, each) for track in result.tracks for each in track.angles]
    return [row | {"draws": result.draws, "covers": coverage(result.draws)} for row in rows]


def _share_row(result: Result, track: Track, kind: str, v: int) -> Row:
    values, ranks = track.shares[kind][:, v], track.ranks[kind]
    good = np.isfinite(values).all(axis=1)
    row = EMPTY | {"run": track.run, "basis": kind, "of": VECTORS[v], "K": int(np.median(ranks)), "says": track.says}
    if not good.any():
        return row | {"says": "no share: the basis or the vector is empty"}
    share, anywhere, blocks, low, high = np.median(values[good], axis=0).tolist()
    row |= {"checkpoints": int(good.sum())}
    row |= {"energy": share, "norm": share**0.5, "leakage": 1 - share, "sqrt(K/P)": anywhere**0.5}
    row |= {"blocks": blocks**0.5, "low": low**0.5, "high": high**0.5}
    row["ratio"] = float(np.median(np.sqrt(values[good, 0] / values[good, 2]))) if (values[good, 2] > 0).all() else None
    row["rho"] = max(1 - share, 0.0) ** 0.5 if result.protocol == "paper" else None
    return row | {"replay": float(np.median(track.replay))}


def _angle_row(track: Track, each: Comparison) -> Row:
    row = EMPTY | {"run": track.run, "basis": each.basis, "of": each.between, "says": track.says}
    row |= {"overlap": each.overlap, "overlap_random": float(each.overlap_random[0])}
    row |= {"overlap_high": float(each.overlap_random[2]), "smallest": each.smallest, "largest": each.largest}
    row |= {"smallest_random": float(each.smallest_random[0]), "smallest_low": float(each.smallest_random[1])}
    return plain_row(row)
