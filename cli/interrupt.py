"""Ctrl-C that ends a run where it can be resumed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any

EXIT_CODE = 130  # the shell's own for Ctrl-C
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAVING = b" saving; once more: stop at once, losing the work since the last save"
SHOW_CURSOR = b"\x1b[?25h\n"


class Interrupt:
    """Within a `with` block the first Ctrl-C (or SIGTERM) sets a flag, and the second ends the process.

    Attributes
    ----------
    asked : bool    whether there was a first one
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Set the flag; the second time leave at once, without the saving that an exception would set off."""
        in_terminal, again = os.isatty(2), self.asked
        self.asked = True
        with suppress(OSError):  # nobody reads it: the saving goes on
            if again:
                os.write(2, SHOW_CURSOR if in_terminal else b"")
            else:
                os.write(2, SAVING + (b"" if in_terminal else b"\n"))  # a new line would tear the display
        if again:
            os._exit(EXIT_CODE)
