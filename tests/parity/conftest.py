"""The parity runner: ``pytest tests/parity [--cases DIR] [-k METHOD]``.

Without ``--cases``: the cases that are copied here, and those of ``../shared/parity`` where that is there, of the
methods that tapetum has. With it: every case found below DIR; a method without an adapter fails.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tapetum.methods.registry import list_methods

if TYPE_CHECKING:
    from parity_runner.case import Case

HERE = Path(__file__).parent
COPIED = HERE / "cases"
SHARED = HERE.parents[2] / "shared" / "parity"

# The runner is a package of its own, so that its parts can import each other under pytest's importlib mode
_package = ModuleType("parity_runner")
_package.__path__ = [str(HERE)]
sys.modules.setdefault("parity_runner", _package)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", metavar="DIR", type=Path, help="parity: run every case below DIR, whatever its method")


def pytest_report_header(config: pytest.Config) -> str:
    chosen, left_out = _chosen(config)
    text = (
        f"parity: {len(chosen)} cases of {', '.join(sorted({case.method for case in chosen.values()})) or 'no method'}"
    )
    return f"{text}; not implemented yet, left out: {', '.join(left_out)}" if left_out else text


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "parity_case" in metafunc.fixturenames:
        chosen, _ = _chosen(metafunc.config)
        metafunc.parametrize("parity_case", list(chosen.values()), ids=list(chosen))


def _chosen(config: pytest.Config) -> tuple[dict[str, Case], list[str]]:
    """The cases to run by name, and the methods that are left out."""
    from parity_runner.case import find_cases

    # where pytest was started above this folder, it has not seen the option
    folder: Path | None = config.getoption("--cases", default=None)
    chosen: dict[str, Case] = {}
    if folder is not None:
        if not folder.is_dir():
            raise pytest.UsageError(f"--cases {folder}: no such folder")
        for case in find_cases(folder):
            name, count = case.name, 1
            while name in chosen:
                count += 1
                name = f"{case.name}#{count}"
            chosen[name] = case
        if not chosen:
            raise pytest.UsageError(f"--cases {folder}: no case (*.json) found below it")
        return chosen, []
    left_out: set[str] = set()
    for case in [*find_cases(COPIED), *(find_cases(SHARED) if SHARED.is_dir() else [])]:
        if case.method in list_methods():
            chosen.setdefault(case.name, case)
        else:
            left_out.add(case.method)
    return chosen, sorted(left_out)
