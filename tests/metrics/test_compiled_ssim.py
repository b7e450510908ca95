"""The Gaussian SSIM as machine code, beside NumPy's."""

from __future__ import annotations

import platform
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum import machine_code
from tapetum.metrics import ssim

TARGETS = {
    "portable": machine_code.Target("x86-64", "", 4),
    "AVX2": machine_code.Target("haswell", "+avx2,+fma", 8),
    "AVX-512": machine_code.Target("skylake-avx512", "+avx512f,+avx512dq,-prefer-256-bit", 16),
}


def pictures(shape: tuple[int, ...], seed: int, kind: type) -> list[np.ndarray]:
    """Two that resemble each other, with flat parts and white."""
    rng = np.random.default_rng(seed)
    a = np.clip(rng.normal(150, 80, shape), 0, 255)
    a[: shape[0] // 2] = 255
    return [np.clip(x, 0, 255).round().astype(kind) for x in (a, a + rng.normal(0, 12, shape))]


def of_numpy(monkeypatch: pytest.MonkeyPatch, a: np.ndarray, b: np.ndarray) -> float:
    with monkeypatch.context() as patch:
        patch.setattr(ssim, "_compiled", lambda: None)
        return ssim.gaussian_similarity(a, b)


@pytest.fixture
def compiled() -> None:
    pytest.importorskip("llvmlite")
    assert ssim._compiled() is not None


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", [np.uint8, np.float64, np.float32])
@pytest.mark.parametrize("shape", [(11, 11, 3), (11, 11), (12, 15), (25, 18, 3), (40, 11, 1), (11, 90, 3), (70, 33, 3)])
def test_same_as_numpy(shape: tuple[int, ...], kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pictures(shape, 0, kind)
    assert ssim.gaussian_similarity(a, b) == pytest.approx(of_numpy(monkeypatch, a, b), abs=1e-12)
    assert ssim.gaussian_similarity(a, a) == pytest.approx(1, abs=1e-15)  # each position exactly; their sum is rounded


@pytest.mark.usefixtures("compiled")
@given(st.integers(11, 40), st.integers(11, 40), st.integers(0, 10**6))
def test_any_size(height: int, width: int, seed: int) -> None:
    a, b = pictures((height, width, 3), seed, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        assert ssim.gaussian_similarity(a, b) == pytest.approx(of_numpy(patch, a, b), abs=1e-12)


@pytest.mark.usefixtures("compiled")
def test_views_are_read_as_they_look(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pictures((30, 41, 3), 1, np.uint8)
    for turned in (np.s_[::-1], np.s_[:, ::2], np.s_[3:25, 5:, ::-1]):
        expected = of_numpy(monkeypatch, a[turned].copy(), b[turned].copy())
        assert ssim.gaussian_similarity(a[turned], b[turned]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", TARGETS)
def test_every_vector_width(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = TARGETS[name]
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("no x86-64 processor")
    if machine_code.this_machine().width < target.width:
        pytest.skip(f"this processor has no {name}")
    monkeypatch.setattr(machine_code, "this_machine", lambda: target)
    a, b = pictures((31, 37, 3), 2, np.uint8)
    assert ssim.gaussian_similarity(a, b) == pytest.approx(of_numpy(monkeypatch, a, b), abs=1e-12)


@pytest.mark.parametrize("missing", ["llvmlite", "tapetum.metrics.compiled_ssim"])
def test_numpy_where_there_is_no_llvmlite(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (missing, "tapetum.metrics.compiled_ssim"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(ssim, "_compiled", ssim._compiled.__wrapped__)
    assert ssim._compiled() is None
    a, b = pictures((20, 21, 3), 3, np.uint8)
    assert 0 < ssim.ssim_gaussian_valid_uint8(a, b) < 1
