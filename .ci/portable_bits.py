"""Show that portable mode gives one set of bits: the same steps by 1, 2 and 4 threads and on another processor.

portable_bits.py PRESET STEPS [CPU]     train so many steps in portable mode; print the SHA-256 of theta for each way

The other processor is CPU (default Haswell) as qemu-user emulates it (Debian: apt install qemu-user); without it that
line says so. Emulated arithmetic is some hundred times slower: 200 steps of `tiny` take minutes, of `dual` hours.
Exit code 1 if two ways differ.
"""

import os
import shutil
import subprocess
import sys
import time

from minigrok.engine.portable import SETTINGS

STEPS = """
import hashlib, sys
from minigrok.config import preset, with_settings
from minigrok.training.trainer import Trainer
name, steps, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
trainer = Trainer(with_settings(preset(name), ["compute.portable=true", "compute.shards=4"]), threads)
for _ in range(steps):
    trainer.step()
print(hashlib.sha256(trainer.net.theta.tobytes()).hexdigest()[:16])
"""


def bits(name: str, steps: int, threads: int, emulator: list[str]) -> str:
    """Return the hash after so many steps, or why there is none."""
    python = os.path.realpath(sys.executable)
    environment = os.environ | SETTINGS | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [*emulator, python, "-c", STEPS, name, str(steps), str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() or f"failed: {done.stderr.strip().splitlines()[-1:]}"


def main(name: str, steps: int, cpu: str = "Haswell") -> int:
    """Print a line for each way; return the exit code."""
    ways: list[tuple[str, int, list[str]]] = [(f"native, {n} threads", n, []) for n in (1, 2, 4)]
    qemu = shutil.which("qemu-x86_64")
    if qemu:
        ways.append((f"emulated {cpu}, 1 thread", 1, [qemu, "-cpu", cpu]))
    found = set()
    for words, threads, emulator in ways:
        start = time.monotonic()
        result = bits(name, steps, threads, emulator)
        print(f"{name}, {steps} steps, {words}: {result} ({time.monotonic() - start:.0f} s)", flush=True)
        found.add(result)
    if not qemu:
        print("emulated: skipped, there is no qemu-x86_64 here (Debian: apt install qemu-user)")
    return int(len(found) > 1 or any(each.startswith("failed") for each in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
