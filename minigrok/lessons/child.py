"""Checks one answer, in a process of its own: `python -m minigrok.lessons.child LESSON ANSWER RESULT`.

What the answer prints goes to stdout, which may be large: a limit on the size of files ends that. What was found goes
to the file RESULT, as JSON: a list of findings, or the three parts of why there are none.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from minigrok.errors import MinigrokError
from minigrok.lessons.findings import FaultError, Finding, told
from minigrok.lessons.texts import lesson

PRINTED = 2**20  # bytes that an answer may print: our choice
MEMORY = 2**33  # bytes of address space: our choice


def findings(number: int, path: Path) -> list[Finding]:
    """Return what the lesson's check finds in a file."""
    exercise = lesson(number).exercise
    if exercise.SUFFIX != ".py":
        return list(exercise.check(path))
    return list(exercise.check(names_of(path)))


def names_of(path: Path) -> dict[str, Any]:
    """Return the names that an answer's file defines; a FaultError says why it cannot be run."""
    names: dict[str, Any] = {"__name__": "answer"}
    try:
        exec(compile(path.read_bytes(), "<answer>", "exec"), names)
    except (Exception, SystemExit) as error:
        raise FaultError("a file that Python can run", *told(error)) from error
    return names


def main(number: str, answer: str, result: str) -> None:
    """Write what was found."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (PRINTED, PRINTED))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        found: dict[str, Any] = {"findings": findings(int(number), Path(answer))}
    except FaultError as fault:
        found = {"fault": fault.args}
    except MinigrokError as error:
        found = {"fault": [error.required, error.got, error.do]}
    except MemoryError:
        found = {"fault": ["less memory", f"more than {MEMORY >> 30} GiB", "use smaller arrays"]}
    Path(result).write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
