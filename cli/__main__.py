"""The script `minigrok`, and `python -m minigrok_cli` where that is not on the path."""

import os
import signal

INTERRUPTED = 130  # the shell's own for Ctrl-C


def start() -> None:
    """Run the command line; while it is imported Ctrl-C ends the process without a word, as nothing is begun."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from .main import main

    main(prog_name="minigrok")


if __name__ == "__main__":
    start()
