"""A number, or an array, from the result of an analysis, by the names of its fields.

    pieces[name='L0 WV'].centred[0]      a field; the members of a list whose field is that; an index
    values{exact}[:,0]|median            a key of a dict; a column; then functions, from left to right
    checkpoints[1].ends[operator=H]      one member that is left stands for itself, several are stacked
    values[@5000]                        the row whose step is nearest (of the result's `steps`)
A path is checked against the annotations of the Result when the claims are read, and walks dataclasses and the nested
dicts of a result that was read back alike. What is not there, None or empty, is nan.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from minigrok.analyses.base import Analysis
from minigrok.analyses.weight_spectra.analysis import padded_average
from minigrok.checks import nearest
from minigrok.engine import Array
from minigrok.errors import ConfigError
from minigrok.statistics.intervals import band

TOKEN = re.compile(
    r"\.?(?P<name>[A-Za-z_]\w*)|\[(?P<index>-?\d+)\]|\[:,(?P<column>-?\d+)\]|\[@(?P<step>\d+)\]"
    r"|\[(?P<key>\w+)(?P<sign>!?=)(?P<value>'[^']*'|[^\]']*)\]|\{(?P<item>[^}]*)\}"
)
MARK = 0.90  # of k*, as the paper has it: test accuracy of the worst task


def _ascending(x: Array, *order: int) -> float:
    """Least difference between neighbours in this order, never reached = infinite: above 0 if strictly ascending."""
    times = np.where(np.isnan(x), np.inf, x)[list(order)]
    with np.errstate(invalid="ignore"):
        gaps = np.diff(times)
    return float("nan") if np.isnan(gaps).all() else float(np.nanmin(gaps))


def _crossing(x: Array) -> float:
    found = np.flatnonzero(x >= MARK)
    return float(found[0] + 1) if found.size else float("nan")


def _below(x: Array) -> float:
    k = _crossing(x)
    return float(x[int(k) - 2]) if k >= 2 else float("nan")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": np.min,
    "max": np.max,
    "mean": np.mean,
    "median": np.median,
    "absmax": lambda x: np.max(np.abs(x)),
    "latest": np.max,  # of times: nan if one was never reached
    "reached": lambda x: float(np.sum(np.isfinite(x))),
    "reciprocal": lambda x: 1 / x,
    "negative": lambda x: -x,
    "outside": lambda share: np.sqrt(1 - np.minimum(share, 1)),  # length outside a plane that has this share of energy
    "fall": lambda x: np.nanmax(x) / x[-1],
    "rise": lambda x: x[-1] - x[0],
    "burst": lambda x: np.max(x) / np.median(x),
    "tail": lambda x: np.quantile(x, 0.9) / np.median(x),
    "rows": lambda x: np.median(x, axis=1),
    "peaks": lambda x: np.max(x, axis=0),
    "worst": lambda x: np.nanmin(x, axis=1),  # of networks (rows): their worst task
    "over_one": lambda x: x - 1,  # of a ratio
    "best": lambda x: np.max(np.min(x, axis=1)),  # of networks (rows): the worst task of the best network
    "fold": lambda x, size: np.reshape(x, (-1, size)).mean(axis=0),
    "lead": lambda x, i: x[i] - np.max(np.delete(x, i)),  # of one over the largest of the others
    "parted": lambda x, n: np.min(x[n:]) - np.max(x[:n]),  # above 0: the first n are the smallest
    "crossing_or_more": lambda x: np.nan_to_num(_crossing(x), nan=len(x) + 1.0),  # k*; never: beyond what was tried
    "ascending": _ascending,
    "crossing": _crossing,  # k*: the first k, from 1, with .90
    "below": _below,  # accuracy at k* - 1
    "percent": lambda x: 100 * x,
    "middle": lambda x: np.median(x, axis=-1),
    "average": lambda x: np.mean(x, axis=-1),
    "last_axis": lambda x, i: x[..., i],
    "ratio": lambda x, i, j: x[i] / x[j],
    "gap": lambda x: x[..., 0] - x[..., 1],  # of singular values
    "head": lambda x, n: x[..., :n],
    "lows": lambda x: np.min(x, axis=0),
    "earliest": np.nanmin,  # of times
    "rest": lambda share: 1 - share,
    "at": lambda x, percent: x[round(percent / 100 * (len(x) - 1))],  # of evenly spaced checkpoints
    "late": lambda x: np.mean(x[len(x) // 2 :]),  # the second half of them
    "smooth": padded_average,
    "noise_worst": lambda x: np.mean(np.min(x, axis=2), axis=1),  # (N, repeats, tasks)
    "band_low": lambda x: band(x)[0],  # of draws
    "band_high": lambda x: band(x)[1],
}


def require_field(analysis: Analysis, path: str) -> None:
    """Raise a ConfigError unless a result of the analysis can have this field, and the functions exist."""
    require_path(get_type_hints(analysis.compute)["return"], path, analysis.name)


def require_path(result: Any, path: str, name: str) -> None:
    """Raise a ConfigError unless a result of this type, or of one of a union's, can have this field."""
    walk, functions = _parsed(path)
    kinds = get_args(result) if not is_dataclass(result) else (result,)
    for function, *_ in functions:
        if function not in FUNCTIONS:
            raise ConfigError(f"a function of a field in {path!r}", function, nearest(function, FUNCTIONS))
    failures = [failure for kind in kinds if (failure := _missing(kind, walk))]
    if len(failures) == len(kinds):
        known = [item.name for kind in kinds for item in fields(kind)]
        raise ConfigError(f"a field of {name} in {path!r}", failures[0], f"the result has {', '.join(known)}")


def number(result: Any, path: str) -> float:
    """Return the number at a path; nan if the result has none."""
    found = numbers(result, path).reshape(-1)
    return float(found[0]) if found.size == 1 else float("nan")


def numbers(result: Any, path: str) -> Array:
    """Return the array at a path in float64; an empty one if the result has none."""
    walk, functions = _parsed(path)
    value: Any = result
    try:
        for token in walk:
            value = _step(value, token, result)
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, *arguments in functions:
                value = FUNCTIONS[name](np.asarray(value, np.float64), *arguments)
        return np.asarray(value, np.float64)
    except (
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ):  # a list without such a member, None on the way
        return np.zeros(0)


def member(result: Any, path: str) -> Any:
    """Return what is at a path without functions: names, a list of members; None if the result has none."""
    value: Any = result
    try:
        for token in _parsed(path)[0]:
            value = _step(value, token, result)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return value


def _parsed(path: str) -> tuple[list[dict[str, str]], list[tuple[Any, ...]]]:
    head, *functions = path.split("|")
    walk, at = [], 0
    while at < len(head):
        match = TOKEN.match(head, at)
        if match is None:
            raise ConfigError("a path such as pieces[name=all].centred[0]|max", repr(path), f"look at {head[at:]!r}")
        walk.append({key: text for key, text in match.groupdict().items() if text is not None})
        at = match.end()
    return walk, [_function(text) for text in functions]


def _function(text: str) -> tuple[Any, ...]:
    name, _, numbers = text.rstrip(")").partition("(")
    return name, *(int(each) for each in numbers.split(",") if each)


def _step(value: Any, token: Mapping[str, str], root: Any) -> Any:
    if "name" in token:
        return _each(value, partial(_member, name=token["name"]))
    if "item" in token:
        return _each(value, lambda one: one[token["item"]])
    if "key" in token:
        wanted, equal = token["value"].strip("'"), token["sign"] == "="
        several = value if isinstance(value, list) else [value]  # one that an earlier choice left
        kept = [one for one in several if (str(_member(one, token["key"])) == wanted) is equal]
        return kept[0] if len(kept) == 1 else kept
    if "column" in token:
        return np.asarray(value)[:, int(token["column"])]
    if "step" in token:
        steps = np.asarray(_member(root, "steps"))
        return value[int(np.argmin(np.abs(steps - int(token["step"]))))]
    return value[int(token["index"])]


def _each(value: Any, take: Callable[[Any], Any]) -> Any:
    return [take(one) for one in value] if isinstance(value, list) else take(value)


def _member(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, Mapping) else getattr(value, name)


def _missing(kind: Any, walk: Sequence[Mapping[str, str]]) -> str:
    """Return which part of a path its annotations lack; "" for none."""
    for token in walk:
        if "column" in token:
            continue
        kind = _bare(kind)
        if "item" in token:
            if get_origin(kind) is not dict:
                return f"no keys in {kind}"
            kind = get_args(kind)[1]
            continue
        kind = _bare(get_args(kind)[0]) if get_origin(kind) is list else kind
        name = token.get("name") or token.get("key")
        if name is not None:
            hints = get_type_hints(kind) if hasattr(kind, "__annotations__") else {}
            if name not in hints:
                return f"no {name} in {getattr(kind, '__name__', kind)}"
            kind = hints[name] if "name" in token else kind
    return ""


def _bare(kind: Any) -> Any:
    """Return a kind without None beside it."""
    others = [each for each in get_args(kind) if each is not NoneType]
    return others[0] if NoneType in get_args(kind) else kind
