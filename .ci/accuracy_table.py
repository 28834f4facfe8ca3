"""The table of minigrok/docs/accuracy.md: minigrok beside PyTorch in float64. Needs the extra [oracle].

    python .ci/accuracy_table.py            print it
    python .ci/accuracy_table.py --write    write it into the page too; .ci/tables.py then writes README's short one

Every row compares with PyTorch in float64 at the very same numbers: parameters, direction and start are rounded to the
row's type first. tests/test_oracle_agreement.py asserts the bounds, its `LIMITS`, with the functions that measure here.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import accuracy  # noqa: E402


def lines() -> list[str]:
    """Return the rows of the table as they stand in the page."""
    rows = []
    for dtype in accuracy.LIMITS:
        worst = accuracy.worst(dtype)
        rows.append(f"| {dtype} | " + " | ".join(f"{worst[column]:.0e}" for column in accuracy.COLUMNS) + " |")
    return rows


if __name__ == "__main__":
    table = lines()
    print("\n".join(table))
    if "--write" in sys.argv:
        from tables import ACCURACY, replaced

        ACCURACY.write_text(replaced(ACCURACY.read_text(encoding="utf-8"), "accuracy", table), encoding="utf-8")
