"""How much memory this process may still take."""

import resource
import sys
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PLENTY = sys.maxsize  # where the system does not say: nothing is refused


def available_memory() -> int:
    """Return the bytes that are left: of the machine, of this process's control group, and of its own limit."""
    return max(0, min(_of_machine(), _of_group(), _of_limit()))


def _of_machine() -> int:
    """Memory that Linux can give without swapping, and the free swap."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        return 1024 * sum(int(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError):
        return PLENTY


def _of_group() -> int:
    """Least that is left of any control group around this process, its file cache not counted as taken."""
    try:
        groups = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return PLENTY
    left = [PLENTY]
    for number, kinds, path in (line.split(":", 2) for line in groups):
        if number == "0":
            root, files = GROUPS, ("memory.max", "memory.current")
        elif "memory" in kinds.split(","):
            root, files = GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inner = root / path.lstrip("/")
        left += [_left_of(folder, *files) for folder in (inner, *inner.parents) if folder.is_relative_to(root)]
    return min(left)


def _left_of(folder: Path, limit: str, usage: str) -> int:
    """Memory that is left of one control group."""
    try:
        most, used = int((folder / limit).read_text("ascii")), int((folder / usage).read_text("ascii"))
        counts = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
        return most - used + int(counts.get("inactive_file", 0))
    except (OSError, ValueError):  # no such file, or "max"
        return PLENTY


def _of_limit() -> int:
    """What `ulimit -v` leaves."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return PLENTY
    try:
        return most - int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return PLENTY
