"""What the caller of a training sees and says while it goes on, and how often its state is saved."""

from collections.abc import Callable
from dataclasses import dataclass, field

from minigrok.training.run_state import Row

CHECKPOINT_SECONDS = 30.0  # a kill costs at most about this much work: our choice


@dataclass
class Observer:
    """What the caller sees and says while a run goes on; the default does nothing.

    Attributes
    ----------
    stepped : called with the number of steps done after each step
    evaluated : called with each row of metrics
    stop : asked after each step; True saves the state and ends the sitting
    """

    stepped: Callable[[int], None] = field(default=lambda step: None)
    evaluated: Callable[[Row], None] = field(default=lambda row: None)
    stop: Callable[[], bool] = field(default=lambda: False)
