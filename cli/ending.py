"""How a command ends: done, in an error, by Ctrl-C, or with nobody to read its output; an exit code for each.

A pipe that its reader closed, or a full disk behind stdout, ends the output and not the work: a training goes on and is
saved. The exit code then says that the output is not all there.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import click

from minigrok.errors import ConfigError, MinigrokError, RunFolderError

from .echo import echo
from .interrupt import EXIT_CODE, SIGNALS

UNREAD = 141  # the shell's own for a closed pipe
FILES = {  # commands whose work is files, and what Ctrl-C leaves of them
    "train": "what is saved is kept, and `minigrok resume` goes on from there",
    "resume": "what is saved is kept, and the same command goes on from there",
    "intervene": "what is saved is kept, and `minigrok resume` goes on from there",
    "sweep": "what is saved is kept, and the same command goes on from there",
    "analyse": "finished parts are kept, and the same command goes on from there",
    "audit": "finished analyses and parts are kept, and the same command goes on from there",
    "figure": "finished analyses and parts are kept, and the same command goes on from there",
    "table": "finished analyses and parts are kept, and the same command goes on from there",
    "plot": "every file that is there is whole",
    "bench": "nothing is kept",
    "reference": "every file that is there is whole",
}


@dataclass
class Call:
    """One call of the command line.

    Attributes
    ----------
    command : str    its name, once it is known
    asked : bool     whether there was a Ctrl-C
    """

    command: str = ""
    asked: bool = False
    _again: threading.Timer = field(default_factory=lambda: threading.Timer(0.0, int))

    def end(self, run: Callable[[], object]) -> int:
        """Run the command; return the exit code."""
        with _outputs() as outputs, self._noting_interrupts():
            code = self._code(run)
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            for output in outputs:
                code = code or self._undelivered(output.failure)
        return code

    def interrupted(self) -> int:
        """Say what Ctrl-C leaves; return the exit code. Another Ctrl-C ends the process where it is."""
        self._again.cancel()
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
        exec("pass")  # CPython ends by the signal itself if the last exec of a text was interrupted, caught or not
        line = "\n" * (sys.stderr is not None and sys.stderr.isatty())  # behind the terminal's ^C
        echo(f"{line}interrupted: {FILES.get(self.command, 'nothing was changed')}", err=True)
        return EXIT_CODE

    @contextmanager
    def _noting_interrupts(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM alike within the block, and note them: what they interrupt may end in an error."""

        def note(number: int, frame: FrameType | None) -> None:
            self.asked = True
            signal.default_int_handler(number, frame)

        before = {number: signal.getsignal(number) for number in SIGNALS}
        in_main = threading.current_thread() is threading.main_thread()
        taken = [number for number in SIGNALS if in_main and before[number] != signal.SIG_IGN]  # ignored: such as nohup
        for number in taken:
            signal.signal(number, note)
        hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        try:
            yield
        finally:
            sys.unraisablehook = hook
            self._again.cancel()
            for number in [] if self.asked else taken:
                signal.signal(number, before[number])

    def _unraisable(self, lost: Any) -> None:
        """Send a Ctrl-C again that came while C code had called back into Python: an exception is lost there."""
        if isinstance(lost.exc_value, KeyboardInterrupt):
            self._again = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
            self._again.start()
        else:
            sys.__unraisablehook__(lost)

    def _code(self, run: Callable[[], object]) -> int:
        """Run the command; return the exit code that its work has."""
        try:
            result = run()
        except SystemExit as ended:
            result = ended.code
        except KeyboardInterrupt:
            return self.interrupted()
        except click.Abort as abort:
            if isinstance(abort.__cause__, EOFError):  # nothing here asks for input: a mistake in the code
                raise abort.__cause__ from None
            return self.interrupted()
        except click.ClickException as error:
            text = io.StringIO()
            error.show(text)
            echo(text.getvalue(), err=True, nl=False)
            return error.exit_code
        except Exception:
            if not self.asked:
                raise
            return self.interrupted()
        return result if isinstance(result, int) else 0

    def _undelivered(self, failure: OSError | None) -> int:
        """Return the exit code of work that is done, but whose output is not all there; say why, where it can be."""
        if failure is None:
            return 0
        if isinstance(failure, BrokenPipeError):
            return 0 if self.command in FILES else UNREAD
        do = "send it elsewhere; files that the command wrote are whole"
        echo(three_lines(RunFolderError("room for the output", str(failure.strerror), do)), err=True)
        sys.stderr.flush()
        return 1


class _Output(io.FileIO):
    """What lies behind stdout or stderr: after the first failure it takes everything and writes nothing."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or note why not."""
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return len(memoryview(data))


@contextmanager
def _outputs() -> Iterator[list[_Output]]:
    """Put an `_Output` behind stdout and stderr within the block, unless they are a test's."""
    for number in (0, 1, 2):  # one that is closed would be the next file that is opened
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)
    before, outputs = (sys.stdout, sys.stderr), []
    for name, stream in zip(("stdout", "stderr"), before, strict=True):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
            output = _Output(stream.fileno(), "w", closefd=False)
            text = io.TextIOWrapper(
                io.BufferedWriter(output),
                stream.encoding,
                "backslashreplace",
                line_buffering=bool(stream.line_buffering),
            )
            setattr(sys, name, text)
            outputs.append(output)
    try:
        yield outputs
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def three_lines(error: MinigrokError, head: str = "Error") -> str:
    """Text of an error for people."""
    return f"{head}\n  required: {error.required}\n  got:      {error.got}\n  do:       {error.do}"


def in_three_parts(error: Exception) -> MinigrokError:
    """Return what the system refused as an error in three parts; one of minigrok's as it is."""
    got, where = f"{type(error).__name__}: {error}", "--debug shows where in the code"
    if isinstance(error, MinigrokError):
        return error
    if isinstance(error, OSError):
        got = got if error.filename is None else f"{error.filename}: {error.strerror}"
        return RunFolderError("a file that can be read or written", got, f"see its name and permissions; {where}")
    if isinstance(error, MemoryError):
        return ConfigError("enough memory", got, f"take smaller sizes or another machine; {where}")
    return RunFolderError("a file whose parts are not nested so deep", got, f"restore it from a copy; {where}")


REFUSED = (MinigrokError, OSError, MemoryError, RecursionError)
