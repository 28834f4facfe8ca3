"""Table of weight_spectra: one row a series."""

from minigrok.analyses.base import Row, plain_row
from minigrok.analyses.weight_spectra.result import Result, Series


def table(result: Result) -> list[Row]:
    """One row a series: values at the start, at its event, at the end; random value and distances at the event."""
    return [_row(result, each) for each in result.series]


def _row(result: Result, each: Series) -> Row:
    event = each.event
    row = {
        "run": result.run,
        "layer": each.layer if each.layer >= 0 else None,
        "series": each.name,
        "kind": each.kind,
        "start": float(each.values[0]),
        "event": event.value,
        "random": float(each.random[event.index]),
        "end": float(each.values[-1]),
        "end random": float(each.random[-1]),
        "at step": event.step,
        "to grok": event.to_grok,
        "p grok": event.p_grok,
        "to peak": event.to_peak,
        "p peak": event.p_peak,
        "place at peak": each.at_peak,
    }
    return plain_row(row)  # no change from the start: nan
