"""Imports only go down (docs/architecture.md), also the ones inside functions and for type checkers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tapetum"

# from the ground up; floors of one row do not import each other, but see ALLOWED
FLOORS = (
    ("errors", "machine", "machine_code", "checkout", "interrupts", "__init__"),
    ("strict_yaml",),
    ("ops",),
    ("imaging",),
    ("metrics",),
    ("data",),
    ("losses",),
    ("methods",),
    ("weights",),
    ("engines",),
    ("budget",),
    ("enhancer",),
    ("raw_enhancer",),
    ("evaluation", "deploy"),
    ("training",),  # validates with evaluation
    ("cli",),
    ("__main__",),
)
HEIGHT = {name: height for height, row in enumerate(FLOORS) for name in row}
# (importer, imported) that go up on purpose: the registry makes a bundled model by its name, and the package's own
# __init__ offers the names of upper floors, loaded when first used
ALLOWED = {("methods", "weights"), ("__init__", "enhancer"), ("__init__", "methods")}


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and floor of every import of ours."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "tapetum":
            names = [f"tapetum.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [node.module or ""]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "tapetum":
                floor = parts[1] if len(parts) > 1 else "__init__"
                yield node.lineno, floor if floor in HEIGHT else "__init__"


def floor_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = sorted(SOURCE.rglob("*.py"))


def test_every_file_has_a_floor():
    assert {floor_of(path) for path in FILES} <= set(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_only_go_down(path):
    floor = floor_of(path)
    wrong = [
        f"{path}:{line}: {floor} imports {imported}"
        for line, imported in imports_of(path)
        if imported != floor and (floor, imported) not in ALLOWED and HEIGHT[imported] >= HEIGHT[floor]
    ]
    assert not wrong
