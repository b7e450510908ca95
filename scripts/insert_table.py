"""Puts the tables of a benchmark into documents, between their two marks.

    python scripts/insert_table.py benchmark/table.md docs/evaluation.md [...] [--brief README.md ...]

A document has the lines ``<!-- benchmark -->`` and ``<!-- /benchmark -->``; what stands between them is replaced: by
all of it, or, behind ``--brief``, by the means alone, with data, protocol, date and commit, and what is to be minded.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

MARKS = re.compile(r"(<!-- benchmark -->\n).*?(<!-- /benchmark -->)", re.DOTALL)
SECTION = re.compile(r"^## (.*?)\n+((?:^\|.*\n)+)", re.MULTILINE)


def insert(tables: str, document: str) -> str:
    """The document with the tables, their headings one level deeper and without the title. Raises SystemExit where it
    has not the two marks."""
    _, _, body = tables.partition("\n")
    return replace(re.sub(r"^##", "###", body.strip(), flags=re.MULTILINE), document)


def insert_brief(tables: str, document: str) -> str:
    """The document with the means of every table. Raises SystemExit as :func:`insert`, and where there is no table."""
    parts = []
    for heading, table in SECTION.findall(tables):
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
        ends = [i for i, cell in enumerate(rows[0]) if cell.strip().startswith("worst ")]
        if ends:
            kept = "\n".join("|" + "|".join(row[: ends[0]]) + "|" for row in rows)
            parts.append(f"**{heading}**\n\n{kept}")
    facts = dict(re.findall(r"^- (date|commit|GT-mean|left out): (.*)$", tables, flags=re.MULTILINE))
    if not parts or not facts.keys() >= {"date", "commit", "GT-mean"}:
        raise SystemExit("this is no table of a benchmark")
    parts += re.findall(r"^(‡: .*)$", tables, flags=re.MULTILINE)[:1]
    left_out = f" Left out: {facts['left out']}." if "left out" in facts else ""
    parts.append(f"`make benchmark`, {facts['date']}, commit {facts['commit']}; GT-mean: {facts['GT-mean']}.{left_out}")
    return replace("\n\n".join(parts), document)


def replace(body: str, document: str) -> str:
    replaced, count = MARKS.subn(lambda marks: f"{marks[1]}\n{body}\n\n{marks[2]}", document)
    if count != 1:
        raise SystemExit("a document has the lines <!-- benchmark --> and <!-- /benchmark --> once each")
    return replaced


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tables", type=Path, help="table.md of a benchmark")
    parser.add_argument("documents", type=Path, nargs="*", help="get all of it")
    parser.add_argument("--brief", type=Path, nargs="*", default=[], help="get the means alone")
    options = parser.parse_args()
    tables = options.tables.read_text(encoding="utf-8")
    for paths, put in ((options.documents, insert), (options.brief, insert_brief)):
        for path in paths:
            path.write_text(put(tables, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
