"""The table of the commutator analysis: one row a checkpoint and mode."""

import numpy as np

from minigrok.analyses.base import Row
from minigrok.analyses.commutator.result import Result
from minigrok.statistics.intervals import coverage


def table(result: Result) -> list[Row]:
    """One row a checkpoint and mode: medians over the repeats, quartiles of the defect."""
    row = _paper_row if result.protocol == "paper" else _exact_row
    return [row(result, n, m) for m in range(len(result.modes)) for n in range(len(result.steps))]


def _exact_row(result: Result, n: int, m: int) -> Row:
    v = {name: values[n, m] for name, values in result.values.items()}
    middle = {name: float(np.median(values)) for name, values in v.items()}
    row: Row = {"mode": result.modes[m], "step": int(result.steps[n]), "D exact": middle["exact"]}
    row["q1"], row["q3"] = (float(q) for q in np.quantile(v["exact"], [0.25, 0.75]))
    total = float(np.median(result.values["exact"][n, 0]))
    row["/ total"] = middle["exact"] / total if total > 0 else float("nan")
    row |= {
        "D float64": middle["float64"],
        "D float32": middle["float32"],
        "error": middle["error"],
        "floor": middle["floor"],
    }
    row |= {"|bracket|": middle["bracket"], "|g_A|": middle["g_a"], "|g_B|": middle["g_b"]}
    row |= {
        "cos(A, B)": middle["cosine"],
        "attention %": 100 * middle["attention"],
        "cos(32, exact)": middle["agreement"],
    }
    for name in ("run", "past"):
        share, chance = v[f"{name}_share"], v[f"{name}_chance"]
        row[f"{name}: inside/chance"] = float(np.median(share / chance))
    for end in ("low", "high"):
        row[f"chance {end}"] = float(np.median(v[f"run_{end}"] / v["run_chance"]))
    row |= {"draws": result.draws, "covers": coverage(result.draws)}
    return row | {"outside/chance": float(np.median((1 - v["run_share"]) / (1 - v["run_chance"])))}


def _paper_row(result: Result, n: int, m: int) -> Row:
    v = {name: values[n, m] for name, values in result.values.items()}
    extra = {name: float(values[n, m]) for name, values in result.extra.items()}
    row: Row = {"mode": result.modes[m], "step": int(result.steps[n]), "D median": float(np.median(v["float32"]))}
    row |= {"D p90": float(np.quantile(v["float32"], 0.9)), "zeros": int(np.sum(v["float32"] == 0))}
    row |= {"error": extra["error"], "floor": float(np.median(v["floor"])), "|g_A|": float(np.median(v["g_a"]))}
    row |= {"cos(A, B)": float(np.mean(v["cosine"])), "rho": extra["rho"]}
    row["rho, random basis"] = float(np.sqrt(1 - extra.get("inside_chance", np.nan) ** 2))
    row |= {"inside": extra.get("inside", np.nan), "inside, random": extra.get("inside_chance", np.nan)}
    return row
