"""The script that ``make benchmark`` ends with."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def script() -> Any:
    return runpy.run_path(str(ROOT / "scripts" / "insert_table.py"))


@pytest.fixture(scope="module")
def insert(script: Any) -> Any:
    return script["insert"]


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


def test_the_means_alone(script: Any, finished: Any) -> None:
    tables = (finished.out / "table.md").read_text(encoding="utf-8")
    brief = script["insert_brief"](tables, "<!-- benchmark -->\n<!-- /benchmark -->\n")
    assert brief == script["insert_brief"](tables, brief)
    rows = [line for line in brief.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (2 + len(finished.plan.models)), "a table for each protocol"
    assert "worst" not in brief
    assert "ISO" not in brief
    assert finished.results.facts["date"] in brief
    assert (finished.results.facts["commit"] or "not a checkout") in brief
    mean = finished.results.tables[0].lines[0].summary.means["psnr_rgb_uint8"]
    assert f"{mean.value:.2f}" in rows[2]
    with pytest.raises(SystemExit, match="no table of a benchmark"):
        script["insert_brief"]("# T\n", brief)


def test_the_documents_have_the_marks(script: Any) -> None:
    for path in ("docs/evaluation.md", "README.md"):
        script["replace"]("", (ROOT / path).read_text(encoding="utf-8"))


def test_a_document_without_marks(insert: Any) -> None:
    with pytest.raises(SystemExit, match="a document has the lines"):
        insert("# T\n", "no marks")
