"""Claims as tests write them: one of each kind that is right, to be changed in one place."""

import json

HEAD = """
[rules]
confirm = [11, 20]
exploratory = [42]
changed = "2020-01-01T00:00:00Z"

[groups]
"a" = { preset = "tiny", set = { SMALL } }
"b" = { preset = "tiny", set = { SMALL, "optimiser.weight_decay" = 0.0, "train.max_steps" = 1000 } }
"c" = { preset = "tiny", set = { SMALL, "optimiser.weight_decay" = 0.5 } }

[analyses]
"""
SMALL = {"task.p": 7, "model.width": 8, "model.heads": 2, "model.mlp_width": 8}
TIME = {"analysis": "grok_order", "field": "runs[0].steps[-1]|latest"}
ALL = {
    "id": "T1",
    "says": "something",
    "place": "nowhere",
    "family": "order",
    "paper": {"low": 1.0, "high": 2.0, "n": 3, "source": "printed"},
    "protocol": "as printed",
    "quantity": TIME,
    "exact": [TIME],
    "cases": ["a"],
    "sesoi_why": "our choice",
    "least": 8,
    "least_why": "our choice",
    "drawn": "by hand",
}
KINDS = {
    "value": {"chance": 0.0, "direction": "+", "sesoi": 0.5, "statistic": "mean"},
    "order": {"chance": 0.5, "direction": "+", "sesoi": 0.75, "statistic": "share of seeds"},
    "count": {"chance": 0.5, "holds": [1.0, 2.0], "range": [0.0, 3.0], "sesoi": 0.75, "statistic": "share of seeds"},
    "event": {
        **{"target": TIME, "start": TIME, "end": TIME, "trivial": [TIME], "controls": ["b"]},
        **{"sesoi": 0.8, "statistic": "seeds before"},
    },
    "covariation": {
        **{"x": "optimiser.weight_decay", "direction": "+", "null": TIME, "cases": ["a", "b", "c"]},
        **{"sesoi": 0.5, "statistic": "rank correlation within seeds"},
    },
    "invariance": {"null": TIME, "sesoi": 0.5, "statistic": "two one-sided tests"},
    "causal": {
        **{"baseline": "b", "beside": ["c"], "direction": "+", "check": TIME, "check_least": 0.1},
        **{"sesoi": 1.25, "statistic": "log-rank"},
    },
}


def entry(kind, **changes):
    """Return a claim of a kind as a table; a change to None leaves a field out."""
    table = ALL | {"kind": kind} | KINDS[kind] | changes
    return {key: value for key, value in table.items() if value is not None}


def text(*entries, head=HEAD):
    """Return the TOML of a file with these claims."""
    small = ", ".join(f'"{key}" = {value}' for key, value in SMALL.items())
    blocks = ["\n".join(["[[claim]]", *(f"{key} = {toml(value)}" for key, value in each.items())]) for each in entries]
    return "\n\n".join([head.replace("SMALL", small), *blocks])


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value) if isinstance(value, float) else json.dumps(value)


def load(tmp_path, *entries, head=HEAD):
    """Return the book of a file with these claims."""
    from minigrok.audit.book import load

    path = tmp_path / "claims.toml"
    path.write_text(text(*entries, head=head), encoding="utf-8")
    return load(path)


def claim(tmp_path, kind, **changes):
    """Return one claim, read from a file."""
    return load(tmp_path, entry(kind, **changes)).claims[0]
