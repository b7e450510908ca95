"""Which back end computes, and what happens where one does not work."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from tapetum.errors import TapetumWarning, UsageError
from tapetum.ops.selective_scan import available_backends, backends, cross_selective_scan, selective_scan


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where llvmlite is missing or does not know the processor."""
    load = backends._load.__wrapped__

    def fail(name: str) -> ModuleType | str:
        return "ImportError: no llvmlite" if name == "cpu" else load(name)

    monkeypatch.setattr(backends, "_load", fail)
    backends._warn_once.cache_clear()
    yield
    backends._warn_once.cache_clear()


def test_processors_have_two() -> None:
    assert available_backends()[:2] == ["reference", "cpu"]


def test_unknown_name(scan_inputs: Any) -> None:
    with pytest.raises(UsageError, match=r"unknown backend 'cuda' of the selective scan: choose from auto, reference"):
        selective_scan(**scan_inputs(), backend="cuda")


def test_float64_takes_the_reference(scan_inputs: Any) -> None:
    tensors = scan_inputs(length=200)
    assert torch.equal(selective_scan(**tensors), selective_scan(**tensors, backend="reference"))
    with pytest.raises(UsageError, match="computes in float32; for float64 take reference"):
        selective_scan(**tensors, backend="cpu")


def test_cpu_takes_tensors_on_cpu(scan_inputs: Any) -> None:
    with pytest.raises(UsageError, match="takes tensors on cpu, got cuda"):
        backends.choose("cpu", torch.device("cuda"), torch.float32)


@pytest.mark.usefixtures("no_compiler")
def test_without_the_back_end_the_reference_says_so_once(scan_inputs: Any, cross_inputs: Any) -> None:
    tensors, picture = scan_inputs(dtype=torch.float32), cross_inputs(dtype=torch.float32)
    with pytest.warns(TapetumWarning, match="slow reference form, as cpu fails: ImportError: no llvmlite"):
        y = selective_scan(**tensors)
    assert torch.equal(y, selective_scan(**tensors, backend="reference"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merged = cross_selective_scan(**picture)
    assert torch.equal(merged, cross_selective_scan(**picture, backend="reference"))
    with pytest.raises(UsageError, match="backend cpu of the selective scan does not work here: ImportError"):
        selective_scan(**tensors, backend="cpu")
    assert "cpu" not in available_backends()


def test_program_exported_where_the_back_end_works(
    cross_inputs: Any, request: pytest.FixtureRequest, recwarn: pytest.WarningsRecorder
) -> None:
    """It runs elsewhere too, in the reference's way."""
    tensors = cross_inputs(dtype=torch.float32)
    x = tensors.pop("x")

    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return cross_selective_scan(x, **tensors)

    program = torch.export.export(Module(), (x,)).module()
    expected = program(x)
    request.getfixturevalue("no_compiler")
    torch.testing.assert_close(program(x), expected, rtol=1e-5, atol=1e-5)
    assert any("slow reference form" in str(warning.message) for warning in recwarn)


def test_a_program_with_parameters_runs_elsewhere_too(
    cross_inputs: Any, request: pytest.FixtureRequest, recwarn: pytest.WarningsRecorder
) -> None:
    """It was exported as training would run it, and keeps states; elsewhere it computes, and does not train."""
    tensors = cross_inputs(dtype=torch.float32)
    x = tensors.pop("x")

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterDict(tensors)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return cross_selective_scan(x, **dict(self.weights.items()))

    program = torch.export.export(Module(), (x,)).module()
    expected = program(x).detach()
    request.getfixturevalue("no_compiler")
    with torch.no_grad():
        torch.testing.assert_close(program(x), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="this exported program trains only where a fast back end works"):
        program(x).sum().backward()


@pytest.mark.parametrize("default", [torch.float16, torch.bfloat16, torch.float64])
def test_the_default_dtype_changes_nothing(scan_inputs: Any, cross_inputs: Any, default: torch.dtype) -> None:
    """The kernels' memory is of floats, whatever torch makes else."""
    tensors, picture = scan_inputs(dtype=torch.float32), cross_inputs(dtype=torch.float32)
    expected = selective_scan(**tensors), cross_selective_scan(**picture)
    torch.set_default_dtype(default)
    try:
        assert torch.empty(0).dtype == default
        found = selective_scan(**tensors), cross_selective_scan(**picture)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_shapes_are_known_on_meta(cross_inputs: Any) -> None:
    tensors = {name: t.to("meta") for name, t in cross_inputs(dtype=torch.float32).items()}
    y = cross_selective_scan(**tensors)
    assert y.is_meta
    assert y.shape == tensors["x"].shape


def test_a_kernel_that_cannot_be_made_leaves_the_reference(scan_inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe of nothing would not notice: a later LLVM may know the processor and not one of its instructions."""
    cpu = backends._loaded("cpu")

    def refuse(*_: object) -> None:
        raise RuntimeError("LLVM: unknown intrinsic")

    monkeypatch.setattr(cpu, "kernel", refuse)
    monkeypatch.setattr(backends, "_load", backends._load.__wrapped__)
    backends._warn_once.cache_clear()
    tensors = scan_inputs(dtype=torch.float32)
    with pytest.warns(TapetumWarning, match="slow reference form, as cpu fails: RuntimeError: LLVM: unknown intrinsic"):
        y = selective_scan(**tensors)
    backends._warn_once.cache_clear()
    assert torch.equal(y, selective_scan(**tensors, backend="reference"))
