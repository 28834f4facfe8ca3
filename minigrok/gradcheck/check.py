"""The laws (`gradcheck.laws`) on the layers (`gradcheck.cases`), at sizes of the caller's choosing."""

from dataclasses import asdict
from typing import NamedTuple

from minigrok.checks import is_prime, nearest
from minigrok.engine import open_engine
from minigrok.errors import ConfigError
from minigrok.gradcheck.cases import CASES, Sizes
from minigrok.gradcheck.laws import LAWS
from minigrok.rng import rng


class Verdict(NamedTuple):
    """What one law says about one case."""

    case: str  # a layer, half a block, or the network
    law: str
    number: float | None  # dimensionless: a relative error, or the slope of a Taylor law; None: no such direction
    limit: float  # largest error, or smallest slope, that passes
    holds: bool


def run_checks(sizes: Sizes, engine: str = "cpu", seed: int = 0, only: str = "") -> list[Verdict]:
    """Verdicts of every law on every case, or on one, in float64.

    Parameters
    ----------
    sizes : Sizes
    engine : str    one of `minigrok.engine.ENGINES`
    seed : int      of the points and directions
    only : str      name of a case; "": all of them

    Returns
    -------
    list of Verdict
        case by case; a case without a null direction holds that law with number None

    Raises
    ------
    ConfigError    no such case, a size below 1, classes that are no prime, or a width below 3
    EngineError    the engine is not available

    Notes
    -----
    The limits are those of rounding in float64, so there is no float32 version: there, engines are compared.
    """
    if only and only not in CASES:
        raise ConfigError("the name of a layer", repr(only), nearest(only, CASES))
    require_sizes(sizes)
    machine = open_engine(engine, "float64")
    verdicts = []
    for name, make in ({only: CASES[only]} if only else CASES).items():
        for law_name, law in LAWS.items():
            stream = rng(seed, f"check {name} {law_name}")
            case = make(stream, sizes)
            machine.rewind()
            if law_name == "null direction" and case.null is None:
                verdicts.append(Verdict(name, law_name, None, law.limit, True))
                continue
            number = law.check(case, machine, stream)
            verdicts.append(Verdict(name, law_name, number, law.limit, law.holds(number)))
    return verdicts


def require_sizes(sizes: Sizes) -> None:
    """Raise a ConfigError unless there are cases of these sizes on which every law can be seen."""
    small = [f"{name} = {size}" for name, size in asdict(sizes).items() if size < 1]
    if small:
        raise ConfigError("every size at least 1", ", ".join(small), "make them larger")
    if not is_prime(sizes.V):
        do = "take 2, 3, 5, 7, 11, ..., 97"
        raise ConfigError("a prime number of classes: the network's task is modular", str(sizes.V), do)
    if sizes.D < 3:
        raise ConfigError(
            "a width of at least 3 (heads times head width)",
            f"{sizes.H} * {sizes.K} = {sizes.D}",
            "take more or wider heads: a LayerNorm of 2 channels gives +-1, with only rounding to compare",
        )
