"""The script that ``make benchmark`` ends with."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def insert() -> Any:
    return runpy.run_path(str(ROOT / "scripts" / "insert_table.py"))["insert"]


def test_tables_stand_between_the_marks_however_often(insert: Any, finished: Any) -> None:
    tables = (finished.out / "table.md").read_text(encoding="utf-8")
    document = "before\n<!-- benchmark -->\nearlier figures\n<!-- /benchmark -->\nafter\n"
    once = insert(tables, document)
    assert once == insert(tables, once)
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "earlier figures" not in once
    assert "\n### " in once
    assert "\n## " not in once
    assert all(line in once for line in tables.splitlines() if line.startswith("|"))


def test_the_documentation_has_the_marks(insert: Any) -> None:
    insert("# T\n", (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8"))


def test_a_document_without_marks(insert: Any) -> None:
    with pytest.raises(SystemExit, match="a document has the lines"):
        insert("# T\n", "no marks")
