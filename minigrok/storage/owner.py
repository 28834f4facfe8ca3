"""Who holds a lock: a process on a machine, told from later processes of its number and machines of its name."""

import os
import secrets
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

UNKNOWN = "unknown"


class Owner(NamedTuple):
    """Who holds a lock.

    Attributes
    ----------
    host, machine : str    name of the machine, and its id: two machines of one name differ
    boot : str             of the machine's kernel
    pid, start : int, str  of the process; a later process of the same number differs
    token : str            of this very hold
    """

    host: str
    machine: str
    boot: str
    pid: int
    start: str
    token: str

    @property
    def text(self) -> str:
        """Target of the link."""
        return " ".join(map(str, self))

    @classmethod
    def me(cls) -> "Owner":
        """Return this process, as the owner of a new hold."""
        pid = os.getpid()
        return cls(*machine(), pid, start_of(pid), secrets.token_hex(8))

    @classmethod
    def of(cls, text: str) -> "Owner | None":
        """Return the owner that the target of a link names; None if it has another format."""
        fields = text.split(" ")
        if len(fields) != len(cls._fields) or not (fields[3].isascii() and fields[3].isdecimal()):
            return None
        return cls(fields[0], fields[1], fields[2], int(fields[3]), *fields[4:])

    @property
    def here(self) -> bool:
        """Whether it is a process of this machine, since its last start."""
        return (self.host, self.machine, self.boot) == machine()

    def before_start(self, renewed: float, now: float) -> bool:
        """Whether it is a process of this machine from before its last start; the times are the file system's.

        Machines that were copied may share name and id. A living owner on such a twin has renewed its link since this
        machine started, unless that was seconds ago.
        """
        host, number, boot = machine()
        if UNKNOWN in (number, boot, self.boot) or self.boot == boot or (self.host, self.machine) != (host, number):
            return False
        return renewed < now - time.clock_gettime(time.CLOCK_BOOTTIME)


def start_of(pid: int) -> str:
    """When a process of this machine began, in ticks since its start; "" if it is not there, or nothing tells."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
    fields = stat.rpartition(")")[2].split()  # proc(5): from the third on; the name of the command may hold blanks
    return "" if fields[0] in "ZX" else fields[19]


@cache
def machine() -> tuple[str, str, str]:
    """Name of this machine, its id, and a mark of its kernel's start."""
    marks = [UNKNOWN, UNKNOWN]
    for i, path in enumerate(("/etc/machine-id", "/proc/sys/kernel/random/boot_id")):
        with suppress(OSError, ValueError):
            marks[i] = "".join(Path(path).read_text(encoding="ascii").split()) or UNKNOWN
    return socket.gethostname().replace(" ", "_").replace("/", "_") or UNKNOWN, marks[0], marks[1]
