"""NIQE and MUSIQ: what is asked of the library, and what is said where it, or its weights, are missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tapetum.errors import UsageError
from tapetum.metrics import get

torch = pytest.importorskip("torch")

BRIGHT = np.full((200, 220, 3), 0.5)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """A stand-in for the library, whose measures are the mean of what they are given; an empty place for weights."""
    asked: list[tuple[str, str]] = []

    def create_metric(name: str, device: str) -> object:
        asked.append((name, device))
        return lambda x: x.mean() if x.shape == (1, 3, *BRIGHT.shape[:2]) else torch.tensor(torch.nan)

    monkeypatch.setitem(sys.modules, "pyiqa", SimpleNamespace(create_metric=create_metric))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return asked


@pytest.mark.parametrize(("name", "file"), [("niqe", "niqe_modelparameters.mat"), ("musiq", "musiq_koniq_ckpt.pth")])
def test_weights_are_fetched_only_when_told(name: str, file: str, asked: list[tuple[str, str]], tmp_path: Path) -> None:
    measure = get(name)
    assert measure.prepare is not None
    with pytest.raises(
        UsageError, match=re.escape(f"{name} needs weights that are not in {tmp_path / 'pyiqa'}: let --")
    ):
        measure(BRIGHT)
    with pytest.raises(UsageError, match="--download"):
        measure.prepare(False)
    assert asked == []
    measure.prepare(True)
    assert asked == [(name, "cpu")]
    (tmp_path / "pyiqa").mkdir()
    (tmp_path / "pyiqa" / file).write_bytes(b"")
    assert measure(BRIGHT) == pytest.approx(128 / 255), "planes of 8 bit in 0..1"
    assert asked == [(name, "cpu")], "made once"
    with pytest.raises(ValueError, match="is no number"):
        measure(BRIGHT[:-1])
    with pytest.raises(ValueError, match="needs pictures of at least"):
        measure(BRIGHT[:20])


def test_what_the_library_says_becomes_one_line(asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no\n  such weights")

    monkeypatch.setattr(sys.modules["pyiqa"], "create_metric", fail)
    with pytest.raises(UsageError, match=r"^niqe: pyiqa cannot make it: no such weights$"):
        get("niqe").prepare(True)  # type: ignore[misc]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UsageError, match=r"^musiq is computed by pyiqa, which is not installed\. Its licence is"):
        get("musiq").prepare(False)  # type: ignore[misc]


def test_importing_the_measures_imports_nothing_of_it() -> None:
    assert "pyiqa" not in sys.modules
