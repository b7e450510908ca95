"""Puts the tables of a benchmark into documents, between their two marks.

    python scripts/insert_table.py benchmark/table.md docs/evaluation.md [README.md ...]

A document has the lines ``<!-- benchmark -->`` and ``<!-- /benchmark -->``; what stands between them is replaced.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

MARKS = re.compile(r"(<!-- benchmark -->\n).*?(<!-- /benchmark -->)", re.DOTALL)


def insert(tables: str, document: str) -> str:
    """The document with the tables, their headings one level deeper and without the title. Raises SystemExit where it
    has not the two marks."""
    _, _, body = tables.partition("\n")
    body = re.sub(r"^##", "###", body.strip(), flags=re.MULTILINE)
    replaced, count = MARKS.subn(lambda marks: f"{marks[1]}\n{body}\n\n{marks[2]}", document)
    if count != 1:
        raise SystemExit("a document has the lines <!-- benchmark --> and <!-- /benchmark --> once each")
    return replaced


def main() -> None:
    tables = Path(sys.argv[1]).read_text(encoding="utf-8")
    for path in map(Path, sys.argv[2:]):
        path.write_text(insert(tables, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
