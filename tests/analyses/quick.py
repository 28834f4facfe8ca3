"""Settings that keep every analysis short."""

from minigrok.analyses import ANALYSES

QUICK = {"draws": 100, "surrogates": 5, "most": 4, "repeats": 1, "sweep": 1, "windows": 3, "products": 8, "probes": 2}
# whose draws are not of a null of numbers but of whole trajectories and networks
OF_ONE = {"reconstruction": {"draws": 1}, "connectivity": {"draws": 1, "points": 5}}


def quick(name, **changes):
    """Return short settings of an analysis, some changed."""
    settings = ANALYSES[name].settings
    short = {
        key: value for key, value in (QUICK | OF_ONE.get(name, {})).items() if key in settings.__dataclass_fields__
    }
    return settings(**short | changes)
