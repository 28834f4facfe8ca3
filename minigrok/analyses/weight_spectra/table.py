"""Table of weight_spectra: one row a series."""

from minigrok.analyses.base import Row, plain_row
from minigrok.analyses.weight_spectra.result import Result, Series
from minigrok.statistics.intervals import coverage


def table(result: Result) -> list[Row]:
    """One row a series: values at the start, at its event, at the end; random value and distances at the event.

    "random low", "random high": where one more of "draws" random matrices lies with the chance "covers".
    "nearer %": percent of the snapshots that are as near to the grok step (the peak) as the event is, or nearer.
    """
    return [_row(result, each) for each in result.series]


def _row(result: Result, each: Series) -> Row:
    event, over, (low, high) = each.event, each.over, result.band_of(each)
    row = {
        "run": result.run,
        "layer": each.layer if each.layer >= 0 else None,
        "series": each.name,
        "kind": each.kind,
        "start": float(each.values[0]),
        "event": event.value,
        "random": event.random,
        "random low": low,
        "random high": high,
        "draws": result.draws if low < high else None,
        "covers": coverage(result.draws) if low < high else None,
        "end": float(each.values[-1]),
        "end random": float(each.random[-1]),
        "at step": event.step,
        "to grok": event.to_grok,
        "nearer %": 100 * event.near_grok,
        "to peak": event.to_peak,
        "nearer peak %": 100 * event.near_peak,
        "place at peak": each.at_peak,
        "over random at step": over.step,
        "over random nearer %": 100 * over.near_grok,
        "over random nearer peak %": 100 * over.near_peak,
    }
    return plain_row(row)  # no change from the start, no event, no grok: nan
