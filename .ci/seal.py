"""Seal the rules of the audit: write their hash and the present time to minigrok/audit/sealed.toml.

Runs that were begun before do not count any more. tests/audit/test_book.py compares.
"""

from datetime import UTC, datetime
from pathlib import Path

from minigrok.audit.book import load

SEALED = Path(__file__).parent.parent / "minigrok" / "audit" / "sealed.toml"

if __name__ == "__main__":
    book = load()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if not book.changed:
        SEALED.write_text(f'sha256 = "{book.sha256}"\nchanged = "{now}"\n', encoding="utf-8")
    print(f"{SEALED.name}: {load().changed}, {book.sha256[:12]}")
