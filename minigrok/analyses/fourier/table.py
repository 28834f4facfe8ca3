"""Table of fourier: one row a family and coordinate, and one a span of the embedding."""

from collections.abc import Iterable

from minigrok.analyses.base import Row, plain_row
from minigrok.analyses.fourier.result import KINDS, SPLITS, Ablation, Mixed, Result, Shared, Spectrum
from minigrok.statistics.intervals import coverage


def table(result: Result) -> list[Row]:
    """One row a family and coordinate, at the last snapshot; shares in percent of the variance.

    "untrained": at the first snapshot; "random": mean, and "low", "high", the band of random bases.
    """
    ablations = {(f"logits {each.task}", each.by): each for each in result.ablations}
    rows = [_row(result, each) | _scores(ablations.get((each.what, each.by))) for each in result.spectra]
    empty: Row = dict.fromkeys(rows[0])
    rows += [empty | _span(result, each) for each in result.shared]
    rows += [empty | _cosine(result, each) for each in result.mixed]
    rows += [empty | {"run": result.run, "says": says} for says in [result.says] if says]
    return [plain_row(row) for row in rows]


def _row(result: Result, each: Spectrum) -> Row:
    last, keys = each.shares[-1], each.keys
    row: Row = {"run": result.run, "step": int(result.steps[-1]), "what": each.what, "by": each.by}
    row |= {"channels": each.channels, "inside %": 100 * each.inside[-1], "chance %": 100 * each.chance}
    row |= {"inside untrained %": 100 * each.inside[0], "keys": " ".join(map(str, keys)), "in keys %": None}
    if len(keys):
        row["in keys %"] = 100 * last[keys - 1].sum()
    row |= {"largest %": 100 * last.max(), "untrained %": 100 * each.shares[0].max()}
    row |= _random("random", 100 * each.random_largest)
    row |= {"single %": 100 * each.single[-1], "single untrained %": 100 * each.single[0]}
    row |= _random("single random", 100 * each.random_single)
    row |= {"half": int(each.half[-1]), "half untrained": int(each.half[0]), "cosine": None}
    row |= dict.fromkeys(_random("cosine random", [0, 0, 0]))
    covers = coverage(result.draws)
    return row | {"draws": result.draws, "covers": covers, "says": ""}


def _random(name: str, x: Iterable[float]) -> Row:
    return dict(zip((name, f"{name} low", f"{name} high"), map(float, x), strict=True))


def _scores(each: Ablation | None) -> Row:
    """Loss and test accuracy of the logits in full, restricted, excluded; nothing for other families."""
    row: Row = {"explained %": 100 * each.explained[-1] if each else None}
    for i, kind in enumerate(KINDS):
        for j, split in enumerate(SPLITS):
            row[f"{kind} {split} loss"] = each.loss[-1, i, j] if each else None
        row[f"{kind} test accuracy"] = each.accuracy[-1, i, 1] if each else None
        if kind != "full":
            for name, x in zip(("random", "random low", "random high"), range(3), strict=True):
                row[f"{kind} test loss {name}"] = each.random_loss[x, i, 1] if each else None
            row[f"{kind} test accuracy random"] = each.random_accuracy[0, i, 1] if each else None
    return row


def _span(result: Result, each: Shared) -> Row:
    row: Row = {"run": result.run, "step": int(result.steps[-1]), "what": "embedding, span of keys", "by": each.by}
    row |= {"channels": each.rank, "in keys %": 100 * each.explained[-1], "untrained %": 100 * each.explained[0]}
    return row | _random("random", 100 * each.random) | {"draws": result.draws, "covers": coverage(result.draws)}


def _cosine(result: Result, each: Mixed) -> Row:
    row: Row = {"run": result.run, "step": int(result.steps[-1]), "what": f"{each.what}, mixed"}
    row |= {"by": f"{each.first}; {each.second}", "cosine": each.cosine[-1]}
    return row | _random("cosine random", each.random) | {"draws": result.draws, "covers": coverage(result.draws)}
