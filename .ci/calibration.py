"""The tables of minigrok/docs/p_values.md: what p's and intervals are worth, simulated. A few minutes on two cores.

    python .ci/calibration.py            print them, and what is not kept
    python .ci/calibration.py --write    write them into the page too

The studies are in tests/calibration, whose tests hold them to what they state, and the page to their numbers.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are tiny here
sys.path.insert(0, str(ROOT / "tests" / "calibration"))

from studies import POWER, STUDIES  # noqa: E402

PAGE = ROOT / "minigrok" / "docs" / "p_values.md"
TABLES = {"calibration": STUDIES, "power": POWER}


def measured(name: str, i: int) -> tuple[list[str], list[str]]:
    """Return the rows of a study as they stand on the page, and what is not kept."""
    study = TABLES[name][i]
    counts = study.counts()
    return [f"| {' | '.join(row)} |" for row in study.rows(counts)], study.broken(counts)


def main(is_written: bool) -> int:
    """Print and write; return 1 if a claim is not kept."""
    from tables import replaced

    page, broken = PAGE.read_text(encoding="utf-8"), []
    with ProcessPoolExecutor() as pool:
        for name, studies in TABLES.items():
            found = list(pool.map(measured, [name] * len(studies), range(len(studies))))
            rows = [row for some, _ in found for row in some]
            broken += [words for _, wrong in found for words in wrong]
            print("\n".join(rows), end="\n\n")
            page = replaced(page, name, rows)
    if is_written:
        PAGE.write_text(page, encoding="utf-8")
    print("\n".join(f"not kept: {words}" for words in broken) or "every claim is kept")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv))
