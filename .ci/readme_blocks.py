"""Print shell blocks of README.md, so that CI runs what the page says, word for word.

readme_blocks.py NAME     the block that starts with ```sh NAME
readme_blocks.py          all blocks without a name, one after the other
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```sh(?: (?P<name>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str | None) -> list[str]:
    """Return the blocks of a name, or those without one; there must be some."""
    found = [match["text"] for match in BLOCK.finditer(README.read_text("utf-8")) if match["name"] == name]
    if not found:
        sys.exit(f"{README} has no shell block {name or 'without a name'}")
    return found


if __name__ == "__main__":
    print("".join(blocks(sys.argv[1] if len(sys.argv) > 1 else None)), end="")
