"""Campaigns: many faults of one kind, counted."""

from dataclasses import dataclass, field


@dataclass
class Campaign:
    """Faults tried, and what came of them.

    Attributes
    ----------
    failed : what ended other than it should: a traceback, a hang, other bits after all
    silent : what gave other numbers without a word
    """

    name: str
    cases: int = 0
    failed: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
