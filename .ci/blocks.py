"""Print shell blocks of README.md and of the pages in minigrok/docs, so that CI runs what they say, word for word.

blocks.py NAME     the block that starts with ```sh NAME
blocks.py          all blocks without a name, one after the other: those of README.md, then page by page
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "minigrok" / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sh(?: (?P<name>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str | None) -> list[str]:
    """Return the blocks of a name, or those without one; there must be some."""
    found = [m["text"] for page in PAGES for m in BLOCK.finditer(page.read_text("utf-8")) if m["name"] == name]
    if not found:
        sys.exit(f"no page has a shell block {name or 'without a name'}")
    return found


if __name__ == "__main__":
    print("".join(blocks(sys.argv[1] if len(sys.argv) > 1 else None)), end="")
