"""Reading the claims: every part checked, and refused where a rule could not fail, or could not pass.

`claims.toml` has [rules] (confirmation and exploration seeds), [groups] (runs of one condition, as preset and
settings), [analyses] (settings of each protocol; one for all claims, since a run folder holds one result a protocol)
and [[claim]] entries. `sealed.toml` says when the rules last changed: `.ci/seal.py` writes it.
"""

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import MISSING, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import settings_for
from minigrok.audit.claims import FAMILIES, STATISTICS, UNMEASURABLE, Book, Claim, Group, Paper, Quantity
from minigrok.audit.fields import require_field
from minigrok.audit.rules import least_of
from minigrok.audit.simulated import passes_of_null
from minigrok.checks import nearest, require
from minigrok.config import keys, preset, read_toml, with_values
from minigrok.config.arms import ARMS
from minigrok.errors import ConfigError
from minigrok.foreign import read_file
from minigrok.statistics.exchange import SIGNIFICANT

RULES = (  # hashed with the claims, in minigrok/
    *(f"audit/{name}.py" for name in ("rules", "answers", "verdict", "claims", "evidence", "fields")),
    *(f"statistics/{name}.py" for name in ("decisions", "exchange", "intervals", "small_samples", "survival")),
)
TINY = "tiny"  # the other claims that come with minigrok
LARGEST = 1_000_000  # bytes of a file of claims: more is something else: our choice

NEEDED = {  # fields that a kind cannot do without; of the alternatives in brackets, one
    "value": ("direction", ("null", "chance")),
    "order": ("direction", ("null", "chance")),
    "count": ("holds", ("null", "chance", "controls")),
    "event": ("target", "start", "end", "trivial", "controls"),
    "covariation": ("x", "direction", "null"),
    "invariance": ("null",),
    "causal": ("baseline", "beside", "direction", "check"),
}
ALWAYS = ("paper", "protocol", "quantity", "exact", "cases", "statistic", "sesoi", "sesoi_why", "least", "least_why")


def load(path: Path | str | None = None) -> Book:
    """Read the paper's claims, those of a class (`tiny`), or those of a file; a ConfigError says what is wrong."""
    is_ours = path is None or str(path) == TINY
    text = _file(f"audit/{path or 'claims'}.toml") if is_ours else read_file(Path(str(path)), LARGEST).decode()
    table = read_toml(text, "claims")
    for key in ("rules", "groups", "analyses", "claim"):
        require(key in table, f"the claims' [{key}]", "is there", ", ".join(table) or "nothing")
    groups = {name: _group(name, entry) for name, entry in table["groups"].items()}
    settings = {
        (name, protocol): settings_for(ANALYSES[name], protocol, table["analyses"].get(name, {}).get(protocol, []))
        for name in ANALYSES
        for protocol in ("exact", "paper")
    }
    measured = [entry.get("family") for entry in table["claim"] if entry.get("kind") != UNMEASURABLE]
    claims = tuple(_claim(entry, groups, measured.count(entry.get("family"))) for entry in table["claim"])
    repeated = sorted({one.id for one in claims if sum(one.id == other.id for other in claims) > 1})
    require(not repeated, "ids of claims", "differ", repeated)
    rules = table["rules"]
    confirm = range(rules["confirm"][0], rules["confirm"][1] + 1)
    most = max((claim.least for claim in claims), default=0)
    require(most <= len(confirm), "confirmation seeds", f"are at least {most}, the largest least n", len(confirm))
    seen = sorted({*confirm} & {*rules["exploratory"]})
    require(not seen, "confirmation seeds", "were never looked at", seen)
    digest = hashed([text, *map(_file, RULES)])
    seal = read_toml(_file("audit/sealed.toml"), "a seal")
    own = str(rules.get("changed", ""))  # of another file of claims: its author's word
    changed = own if path is not None else str(seal["changed"]) if seal["sha256"] == digest else ""
    return Book(claims, groups, settings, confirm, tuple(rules["exploratory"]), digest, changed)


def hashed(texts: Sequence[str]) -> str:
    """Return the SHA-256 of texts, in their order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def require_waiting(waits: str) -> None:
    """Raise a ConfigError for a quantity that waits for what is there: its field must be named now."""
    what, _, name = waits.partition(" ")
    there: dict[str, Container[str]] = {"analysis": ANALYSES, "arm": ARMS, "setting": keys(), "field": ()}
    if what not in there:
        ways = "waits = 'analysis NAME', 'field ANALYSIS PATH', 'arm NAME' or 'setting KEY'"
        raise ConfigError(ways, repr(waits), nearest(what, there))
    if name in there[what] or (what == "field" and _is_field(*name.split(" ", 1))):
        raise ConfigError(f"a quantity that names a field of {name}", f"waits = {waits!r}, which exists", "name it")


def _is_field(analysis: str, path: str = "") -> bool:
    try:
        require_field(ANALYSES[analysis], path)
    except (ConfigError, KeyError):
        return False
    return True


def _file(name: str) -> str:
    return resources.files("minigrok").joinpath(name).read_text("utf-8")


def _group(name: str, entry: Mapping[str, Any]) -> Group:
    source = entry.get("source", "")
    plane = {"intervention.source": f"{slug(source)}-s{{seed}}"} if source else {}
    return Group(name, with_values(preset(entry["preset"]), {**entry.get("set", {}), **plane}), source)


def slug(group: str) -> str:
    """Return the name of a group's runs in a sweep, but for the seed."""
    return group.replace(" %", "").replace(" ", "-")


def _claim(entry: Mapping[str, Any], groups: Mapping[str, Group], size: int) -> Claim:
    """Return a claim, every part checked; errors begin with its id."""
    name = str(entry.get("id", "a claim without id"))
    try:
        claim: Claim = _made(Claim, entry)
        require(claim.family in FAMILIES, "family", f"is one of {', '.join(FAMILIES)}", claim.family)
        if claim.kind == UNMEASURABLE:
            require(bool(claim.why), "why", "gives the reason", "nothing")
            return claim
        require(claim.kind in STATISTICS, "kind", f"is one of {', '.join((*STATISTICS, UNMEASURABLE))}", claim.kind)
        _require_fields(claim, entry)
        require(len(claim.exact) > 0, "exact", "has one quantity or more", "none")
        require(claim.statistic == STATISTICS[claim.kind], "statistic", f"is {STATISTICS[claim.kind]}", claim.statistic)
        require(claim.direction in ("+", "-"), "direction", "is + or -", claim.direction)
        for group in claim.groups:
            if group not in groups:
                raise ConfigError("the name of a group of runs", repr(group), nearest(group, groups))
        require_fallible(claim, size)
    except ConfigError as error:
        raise ConfigError(f"claim {name}: {error.required}", error.got, error.do) from error
    return claim


def _require_fields(claim: Claim, entry: Mapping[str, Any]) -> None:
    for need in (*ALWAYS, *NEEDED[claim.kind]):
        some = (need,) if isinstance(need, str) else need
        require(any(name in entry for name in some), " or ".join(some), f"is given for kind {claim.kind}", [*entry])
    drawn = bool(claim.drawn) or (claim.null is None and claim.chance is None)
    require(drawn, "drawn", "says how the null is drawn", "nothing")


def require_fallible(claim: Claim, size: int) -> None:
    """Raise a ConfigError for a rule that its null always passes, or nothing can: by logic, and by simulation.

    Nothing can if the least number of seeds cannot give p <= .05 after Holm's correction for a family of that size.
    """
    low, high = claim.range or (float("-inf"), float("inf"))
    vacuous, paper = "a rule that its own null can fail", claim.paper
    if claim.kind in ("order", "count", "event"):
        require(0.5 < claim.sesoi <= 1, "sesoi", "is a share of seeds above a half", claim.sesoi)
        if claim.chance is not None:
            require(0 < claim.chance < claim.sesoi, "chance", f"is in (0, sesoi): {vacuous}", claim.chance)
    else:
        require(claim.sesoi > (1 if claim.kind == "causal" else 0), "sesoi", f"is an effect: {vacuous}", claim.sesoi)
    if claim.holds is not None:
        covers = claim.holds[0] <= low and claim.holds[1] >= high
        require(not covers, "holds", f"leaves a value out: {vacuous}", claim.holds)
    if claim.kind in ("value", "invariance") and paper is not None:
        covers = paper.low - claim.tolerance <= low and paper.high + claim.tolerance >= high
        require(not covers, "tolerance", f"leaves a value out: {vacuous}", claim.tolerance)
        width = (high - low) / (2 if claim.kind == "invariance" else 1)
        require(claim.sesoi < width, "sesoi", f"is smaller than the range: {vacuous}", claim.sesoi)
    least = least_of(claim)
    rule = f"can give p <= .05 among {size} claims of the family"
    require(size * least <= SIGNIFICANT, "least", rule, f"{claim.least}, with p >= {least:.3g}")
    share = passes_of_null(claim, np.random.default_rng(0))
    require(share <= 0.5, "the rule", f"is one that its null does not always pass: {vacuous}", f"{share:.0%} of draws")


def _made(cls: type[Any], entry: Mapping[str, Any]) -> Any:
    """Construct a dataclass of claims from a table, parts first; a ConfigError for unknown or missing fields."""
    types = {item.name: str(item.type) for item in fields(cls)}
    needed = [item.name for item in fields(cls) if item.default is MISSING]
    for key in entry:
        if key not in types:
            raise ConfigError(f"a field of a {cls.__name__.lower()}", repr(key), nearest(key, types))
    missing = [name for name in needed if name not in entry]
    require(not missing, f"a {cls.__name__.lower()}", f"has {', '.join(needed)}", f"no {', '.join(missing)}")
    values = {key: _part(f"{cls.__name__.lower()}.{key}", types[key], value) for key, value in entry.items()}
    made = cls(**values)
    if isinstance(made, Quantity):
        _require_known(made)
    return made


def _part(key: str, kind: str, value: Any) -> Any:
    """Return a field in its annotated type, or raise a ConfigError."""
    parts = {"Paper": Paper, "Quantity": Quantity}
    if kind.startswith("tuple["):
        require(isinstance(value, list), key, "is a list", value)
        return tuple(_part(key, kind.removeprefix("tuple[").removesuffix(", ...]"), each) for each in value)
    if kind.startswith("Pair"):
        require(isinstance(value, list) and len(value) == 2, key, "is a list of two numbers", value)
        return tuple(_part(key, "float", each) for each in value)
    name = kind.removesuffix(" | None")
    if name in parts:
        require(isinstance(value, dict), key, "is a table", value)
        return _made(parts[name], value)
    good: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    require(isinstance(value, good[name]) and not isinstance(value, bool), key, f"is of type {name}", value)
    return float(value) if name == "float" else value


def _require_known(quantity: Quantity) -> None:
    """Raise a ConfigError unless the quantity is a field that exists, or waits for what does not exist."""
    if quantity.waits:
        return require_waiting(quantity.waits)
    if quantity.analysis not in ANALYSES:
        raise ConfigError("the name of an analysis", repr(quantity.analysis), nearest(quantity.analysis, ANALYSES))
    require(quantity.protocol in ("exact", "paper"), "protocol", "is exact or paper", quantity.protocol)
    require_field(ANALYSES[quantity.analysis], quantity.field)
