"""The table of the hessian analysis: one row a snapshot and operator."""

import numpy as np

from minigrok.analyses.base import Row, plain
from minigrok.analyses.hessian.result import OPERATORS, Checkpoint, Paper, Result, Traced
from minigrok.analyses.shared.curvature import End, Ends, exactly
from minigrok.statistics.intervals import mean_interval

COLUMNS = (
    *("size", "lowest", "lowest residual", "lowest converged", "highest", "highest residual", "highest converged"),
    *("lowest / highest", "lowest / |gradient|", "trace", "trace low", "trace high", "draws", "resolved %"),
    *("products", "says"),
)


RESOLVED = 0.9  # of the weight: our choice
UNRESOLVED = "not resolved: the shape near 0 is that of the Ritz values"


def table(result: Result | Paper) -> list[Row]:
    """One row a snapshot and operator; a start of the density; traces of H by groups of parameters; what is missing.

    "trace low", "trace high": interval of so many draws. "resolved %": minigrok.analyses.shared.curvature.
    """
    if isinstance(result, Paper):
        return _paper(result)
    rows = []
    for point in result.checkpoints:
        rows += [_spectrum(result, point, each) for each in point.ends] + _inside(result, point)
        rows += _density(result, point)
        rows += [_trace(result, point, g) for g in range(len(result.groups)) if point.traced]
    return rows + [_row(result, None, "missing") | {"says": words} for words in result.missing]


def _row(result: Result, point: Checkpoint | None, operator: str, task: int = -1) -> Row:
    """Return a row with every column, filled as far as the snapshot goes; task -1: the sum."""
    row: Row = {"run": result.run, "step": None, "lr wd t": None, "loss": None, "|gradient|": None}
    if point:
        loss = float(point.losses.sum() if task < 0 else point.losses[task])
        row |= {"step": point.step, "lr wd t": point.clock, "loss": loss, "|gradient|": float(point.slopes[task])}
    return row | {"operator": operator} | dict.fromkeys(COLUMNS)


def _spectrum(result: Result, point: Checkpoint, ends: Ends) -> Row:
    row = _row(result, point, ends.operator, result.tasks.index(ends.task) if ends.task else -1)
    row |= {"size": result.sizes[-1], "products": ends.products, "says": _says(ends)}
    row |= _end("lowest", ends.lowest) | _end("highest", ends.highest)
    lowest, highest, slope = row["lowest"], row["highest"], row["|gradient|"]
    if lowest is not None:
        row["lowest / highest"] = lowest / highest if highest > 0 else None
        row["lowest / |gradient|"] = lowest / slope if slope > 0 else None
    if point.traced and ends.operator in OPERATORS:
        row |= _moments(point.traced, OPERATORS.index(ends.operator), -1)
    return row


def _end(name: str, end: End) -> Row:
    if not end.values.size:
        return {}
    value, residual, converged = float(end.values[0]), float(end.residuals[0]), bool(end.converged[0])
    return {name: value, f"{name} residual": residual, f"{name} converged": converged}


def _says(ends: Ends) -> str:
    """Say which of the values are not converged."""
    words, good = [], np.concatenate([ends.lowest.converged, ends.highest.converged])
    for name, end, beyond in (("lowest", ends.lowest, "or below"), ("highest", ends.highest, "or above")):
        if end.values.size and not end.converged[0]:
            words.append(f"{name} not converged: {end.values[0]:.3g} {beyond}")
    return "; ".join([*words, f"{good.sum()} of {good.size} converged"])


def _inside(result: Result, point: Checkpoint) -> list[Row]:
    if point.inside is None:
        return []
    values, random, rows = point.inside.values, point.inside.random, []
    for name, found in (("H inside B", values[None]), ("H inside random B", random)):
        traces, n = found.sum(axis=1), len(found)
        row = _row(result, point, name) | {"size": values.size, "products": found.size, "trace": float(traces.mean())}
        row |= _end("lowest", exactly(found.min())) | _end("highest", exactly(found.max()))
        low, high, _ = mean_interval(traces)
        row |= {"trace low": plain(low), "trace high": plain(high), "says": "exact"}
        if name == "H inside random B":
            row |= {"draws": n, "says": f"extremes of {n} random bases, mean trace"}
        rows.append(row)
    return rows


def _trace(result: Result, point: Checkpoint, group: int) -> Row:
    assert point.traced is not None
    row = _row(result, point, f"H in {result.groups[group]}")
    return row | {"size": result.sizes[group]} | _moments(point.traced, 0, group)


def _moments(traced: Traced, operator: int, group: int) -> Row:
    low, high = (plain(end) for end in traced.ends[:, operator, group])
    mean = float(traced.mean[operator, group])
    return {"trace": mean, "trace low": low, "trace high": high, "draws": traced.probes}


def _density(result: Result, point: Checkpoint) -> list[Row]:
    """One row a start."""
    rows, density = [], point.density
    for i, share in enumerate(density.resolved if density else []):
        assert density is not None
        row = _row(result, point, f"density of H, start {i + 1}") | {"size": result.sizes[-1]}
        row |= {"resolved %": float(100 * share), "products": int(density.products[i])}
        rows.append(row | {"says": "resolved" if share >= RESOLVED else UNRESOLVED})
    return rows


def _paper(result: Paper) -> list[Row]:
    """One row a snapshot and mode."""
    rows = []
    for s, step in enumerate(result.steps):
        for m, mode in enumerate(result.modes):
            values, residuals = result.values[s, m], result.residuals[s, m]
            row: Row = {"run": result.run, "step": int(step), "loss": mode}
            for i, (value, residual) in enumerate(zip(values, residuals, strict=True), start=1):
                row |= {f"lambda {i}": float(value), f"residual {i}": float(residual)}
            row["converged of 5"] = int((residuals <= result.tolerance * np.abs(values)).sum())
            row["sign known of 5"] = int((residuals < np.abs(values)).sum())
            row["onset"] = result.onsets[m]
            rows.append(row)
    return rows
