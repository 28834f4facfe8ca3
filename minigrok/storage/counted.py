"""What the counters of a checkpoint can be: a file that says otherwise is damaged, or somebody made it up."""

from collections.abc import Callable, Mapping
from typing import Any

from minigrok.config import Config

POSITIONS = 624  # of a Mersenne twister's state; the last says that all its numbers are used up
MOST = 2**63


def unbelievable(state: Mapping[str, Any], config: Config) -> str:
    """Return the first counter that no training of this configuration reaches, in words; "" if there is none."""
    most, n_tasks = config.train.max_steps, len(config.task.operations)
    each: dict[str, Callable[[Any], bool]] = {
        "step": lambda x: _is_count(x, most),
        "streak": lambda x: _is_list(x, n_tasks) and all(_is_count(y, most) for y in x),
        "grok_step": lambda x: _is_list(x, n_tasks) and all(y is None or _is_count(y, most) for y in x),
        "after_grok": lambda x: x is None or _is_count(x, MOST),
        "stream_position": lambda x: _is_count(x, POSITIONS),
        "seconds": lambda x: _is_number(x) and 0 <= x < MOST,
        "grad_norm": _is_number,
        "kicks": lambda x: isinstance(x, dict) and all(map(_is_number, x.values())),
    }
    wrong = (name for name, is_good in each.items() if name in state and not is_good(state[name]))
    return next((f"{name} {repr(state[name])[:40]}" for name in wrong), "")


def _is_count(x: Any, most: int) -> bool:
    return type(x) is int and 0 <= x <= most


def _is_list(x: Any, n: int) -> bool:
    return isinstance(x, list) and len(x) == n


def _is_number(x: Any) -> bool:
    return type(x) is float or _is_count(x, MOST)
