"""The recorded scans on every back end of processors, and at every vector width: ``auto`` takes the widest alone."""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("llvmlite")

from tapetum import machine_code
from tapetum.ops.selective_scan import selective_scan

CASES = Path(__file__).parent / "cases"
SCANS = ("mamballie-scan_L1", "mamballie-scan_L7", "mamballie-scan_L257", "mamballie-scan_options")
TARGETS = {
    "portable": machine_code.Target("x86-64", "", 4),
    "AVX2": machine_code.Target("haswell", "+avx2,+fma", 8),
    "AVX-512": machine_code.Target("skylake-avx512", "+avx512f,-prefer-256-bit", 16),
}


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("how", ["reference", *TARGETS])
def test_recorded_scan(name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from parity_runner.adapters import mamballie
    from parity_runner.case import find_cases, run

    if how in TARGETS:
        if platform.machine().lower() not in ("x86_64", "amd64"):
            pytest.skip("no x86-64 processor")
        if machine_code.this_machine().width < TARGETS[how].width:
            pytest.skip(f"this processor has no {how}")
        monkeypatch.setattr(machine_code, "this_machine", lambda: TARGETS[how])
    backend = "cpu" if how in TARGETS else how
    monkeypatch.setattr(mamballie, "selective_scan", partial(selective_scan, backend=backend))
    (case,) = [case for case in find_cases(CASES) if case.name == name]
    run(case)
