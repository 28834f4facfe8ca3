"""An answer is checked in a process of its own: one that loops for ever, raises or prints harms nobody."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from minigrok.errors import ConfigError, MinigrokError
from minigrok.lessons.findings import Finding

SECONDS = 60.0  # that a check may take; all take a few: our choice
SHOWN = 2000  # characters of what an answer printed that are shown: our choice


class AnswerError(MinigrokError):
    """An answer that cannot be checked: no Python, too slow, or no numbers."""


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes
    ----------
    findings : list of Finding
    printed : str       what the answer printed, its beginning
    """

    findings: list[Finding]
    printed: str

    @property
    def holds(self) -> bool:
        """Whether every law holds."""
        return all(finding.holds for finding in self.findings)


def check(number: int, path: Path, seconds: float = SECONDS) -> Checked:
    """Check the answer to a lesson's exercise.

    Parameters
    ----------
    number : int        of the lesson
    path : Path         the student's file
    seconds : float     after which the check is ended

    Raises
    ------
    ConfigError    there is no such file
    AnswerError    the answer takes too long, cannot be run, raises, or returns what is no answer
    """
    if not path.is_file():
        do = f"`minigrok learn {number} --start {path.name}` writes one to fill in"
        raise ConfigError("the file of your answer", f"no file {path}", do)
    with tempfile.TemporaryDirectory() as folder:
        result, out = Path(folder, "result.json"), Path(folder, "printed.txt")
        with out.open("wb") as stdout:
            _run([str(number), str(path.resolve()), str(result)], stdout.fileno(), seconds)
        printed = out.read_bytes()[:SHOWN].decode(errors="replace")
        if not result.exists():
            do = f"read what it printed: {printed[-200:].strip() or 'nothing'}"
            raise AnswerError("a check that ends", "the process of your answer ended without a result", do)
        found = json.loads(result.read_text("utf-8"))
    if "fault" in found:
        raise AnswerError(*found["fault"])
    return Checked([Finding(*each) for each in found["findings"]], printed)


def _run(arguments: list[str], stdout: int, seconds: float) -> None:
    """Run the check; an AnswerError if it takes too long. One thread: a class shares the machine."""
    command = [sys.executable, "-m", "minigrok.lessons.child", *arguments]
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT, env=env, start_new_session=True
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            do = "look for a loop that never ends, or for work that grows with p^4"
            raise AnswerError(f"an answer within {seconds:.0f} s", "it was still running", do) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
