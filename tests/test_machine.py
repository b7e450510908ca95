"""Cores and memory, with and without a container's limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapetum import machine


def test_this_machine() -> None:
    assert machine.available_cores() >= 1
    assert machine.free_memory() > 10**6


def test_limits_of_a_container_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    assert machine.available_cores() == 1
    assert machine.free_memory() == 3_000_000
    (tmp_path / "memory.stat").write_text("anon 1000000\nfile 900000\ninactive_file 700000\nactive_file 200000\n")
    assert machine.free_memory() == 3_700_000, "what is only kept of files that were read can be had"


def test_a_container_without_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = machine.available_cores(), machine.free_memory()
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    assert machine.available_cores() >= without[0]
    assert machine.free_memory() > 0.5 * without[1]


@pytest.mark.parametrize(("wanted", "at_most"), [("1", 1), ("0", 1), ("no number", 10**6), ("", 10**6)])
def test_the_environment_may_ask_for_fewer(monkeypatch: pytest.MonkeyPatch, wanted: str, at_most: int) -> None:
    monkeypatch.delenv("TAPETUM_THREADS", raising=False)
    all_of_them = machine.available_cores()
    monkeypatch.setenv("TAPETUM_THREADS", wanted)
    assert machine.available_cores() == min(all_of_them, at_most)
