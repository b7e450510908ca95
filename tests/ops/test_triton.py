"""The Triton kernels against the reference in float64: on a GPU, or under Triton's interpreter on the processor.

The interpreter must be chosen before Triton is imported, so ``test_under_the_interpreter`` runs this file once more, in
a process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tapetum.errors import TapetumWarning, UsageError
from tapetum.ops.selective_scan import available_backends, backends, cross_selective_scan, selective_scan
from tapetum.ops.selective_scan.backends import choose

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if ON_GPU else "cpu"
NO_TRITON = "Triton is not installed (torch's CUDA builds bring it; elsewhere: pip install triton)"
has_triton = importlib.util.find_spec("triton") is not None

needs_kernels = pytest.mark.skipif(
    not (has_triton and (INTERPRETED or ON_GPU)),
    reason="no GPU; test_under_the_interpreter runs this one" if has_triton else NO_TRITON,
)
needs_gpu = pytest.mark.skipif(not (has_triton and ON_GPU), reason="there is no CUDA device")


@pytest.mark.skipif(not has_triton, reason=NO_TRITON)
@pytest.mark.skipif(INTERPRETED, reason="this is that process")
def test_under_the_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks and segments, the last of them short, in short sequences."""
    from tapetum.ops.selective_scan import reference
    from tapetum.ops.selective_scan.triton import launch

    for module in (reference, launch):  # the one makes room for the states that the other writes
        monkeypatch.setattr(module, "CHUNK", 8)
    monkeypatch.setattr(launch, "SEGMENT", 16)


Make = Callable[..., dict[str, Tensor]]


def results(function: Any, given: dict[str, Tensor], backend: str, **options: Any) -> dict[str, Tensor]:
    """y, the last state if there is one, and the gradients of everything that is given, in float64 on the processor."""
    device, dtype = (DEVICE, torch.float32) if backend == "triton" else ("cpu", torch.float64)
    tensors = {name: t.to(device, dtype).requires_grad_() for name, t in given.items()}
    out = function(**tensors, **options, backend=backend)
    y, *last = out if isinstance(out, tuple) else (out,)
    weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).sin().view(y.shape).to(device, dtype)
    gradients = torch.autograd.grad((y * weight).sum(), list(tensors.values()))
    found = {"y": y.detach()} | ({"last state": last[0]} if last else {})
    found |= {f"gradient of {name}": g for name, g in zip(tensors, gradients, strict=True)}
    return {name: t.cpu().double() for name, t in found.items()}


def compare(function: Any, given: dict[str, Tensor], **options: Any) -> None:
    expected = results(function, given, "reference", **options)
    for name, found in results(function, given, "triton", **options).items():
        scale = expected[name].abs().max().item()
        error = (found - expected[name]).abs().max().item()
        assert error <= 5e-6 * scale + 1e-12, f"{name}: error {error:.1e} at a scale of {scale:.1e}"


@needs_kernels
@pytest.mark.parametrize(
    ("batch", "groups", "per_group", "states", "length", "without", "softplus"),
    [
        (1, 1, 3, 3, 1, ("D", "z", "delta_bias"), True),
        (2, 1, 5, 16, 5, ("z",), True),
        (1, 2, 1, 32, 5, ("delta_bias",), False),
    ],
)
def test_scan(
    scan_inputs: Make,
    batch: int,
    groups: int,
    per_group: int,
    states: int,
    length: int,
    without: tuple[str, ...],
    softplus: bool,
) -> None:
    given = scan_inputs(batch, groups, per_group, states, length)
    given["z"] = given["u"].flip(1, 2)
    if not softplus:
        given["delta"] = given["delta"].abs()
    given = {name: t for name, t in given.items() if name not in without}
    compare(selective_scan, given, delta_softplus=softplus, return_last_state=True)


@needs_kernels
@pytest.mark.usefixtures("short_segments")
def test_scan_over_several_segments(scan_inputs: Make) -> None:
    channels = 17  # three blocks, so that one program has two
    compare(selective_scan, scan_inputs(1, 1, channels, 3, 20), delta_softplus=True, return_last_state=True)


@needs_kernels
def test_scan_of_seventy_steps_with_shared_rows(scan_inputs: Make) -> None:
    given = scan_inputs(1, 1, 3, 32, 70)
    compare(selective_scan, given | {"B": given["B"][:, 0], "C": given["C"][:, 0]}, delta_softplus=True)


@needs_kernels
def test_views_extreme_steps_and_empty_batches(scan_inputs: Make) -> None:
    given: dict[str, Any] = {name: t.to(DEVICE, torch.float32) for name, t in scan_inputs(1, 1, 2, 3, 9).items()}
    given["delta"] = torch.tensor([-100.0, 100.0, -30.0], device=DEVICE).repeat(6).view(1, 2, 9)
    wide: dict[str, Any] = {name: t.cpu().double() for name, t in given.items()}
    expected = selective_scan(**wide, delta_softplus=True, backend="reference")
    views = given | {name: given[name].transpose(1, 2).contiguous().transpose(1, 2) for name in ("u", "delta")}
    found = selective_scan(**views, delta_softplus=True, backend="triton")
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-6)
    empty: dict[str, Any] = {name: t[:0] if name in ("u", "delta", "B", "C") else t for name, t in given.items()}
    nothing = selective_scan(**empty, backend="triton")
    assert isinstance(nothing, Tensor)
    assert nothing.shape == (0, 2, 9)


@needs_kernels
def test_nan_stays_in_its_channel_and_after_its_step(scan_inputs: Make) -> None:
    given: dict[str, Any] = {name: t.to(DEVICE, torch.float32) for name, t in scan_inputs(1, 1, 3, 2, 9).items()}
    given["u"][0, 1, 4] = torch.nan
    y = selective_scan(**given, delta_softplus=True, backend="triton")
    assert isinstance(y, Tensor)
    expected = torch.zeros(3, 9, dtype=torch.bool)
    expected[1, 4:] = True
    assert torch.equal(y[0].isnan().cpu(), expected)


@needs_kernels
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 2, 3), (2, 1, 1)])
def test_cross_scan(cross_inputs: Make, batch: int, height: int, width: int) -> None:
    compare(cross_selective_scan, cross_inputs(batch, 3, height, width, 3, 2))


@needs_kernels
@pytest.mark.usefixtures("short_segments")
def test_cross_scan_over_several_segments(cross_inputs: Make) -> None:
    compare(cross_selective_scan, cross_inputs(1, 9, 3, 6, 2, 1))


@needs_kernels
def test_the_kernels_take_their_device_and_float32() -> None:
    assert "triton" in available_backends()
    with pytest.raises(UsageError, match="computes in float32"):
        choose("triton", torch.device(DEVICE), torch.float64)
    with pytest.raises(UsageError, match="takes tensors on"):
        choose("triton", torch.device("meta"), torch.float32)


@pytest.mark.skipif(INTERPRETED or ON_GPU, reason="the kernels run here")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(UsageError, match="the backend triton of the selective scan does not work here"):
        choose("triton", torch.device("cpu"), torch.float32)

    backends._warn_once.cache_clear()
    with pytest.warns(TapetumWarning, match="slow reference form, as triton fails"):
        assert choose("auto", torch.device("cuda"), torch.float32).__name__.endswith("reference")


@needs_gpu
class TestOnGpu:
    """Sizes that the interpreter would take too long for."""

    @pytest.mark.parametrize(("groups", "states", "length"), [(1, 16, 5000), (4, 32, 1031), (2, 64, 700)])
    def test_scan(self, scan_inputs: Make, groups: int, states: int, length: int) -> None:
        compare(selective_scan, scan_inputs(2, groups, 13, states, length), delta_softplus=True, return_last_state=True)

    def test_cross_scan(self, cross_inputs: Make) -> None:
        compare(cross_selective_scan, cross_inputs(2, 24, 47, 30, 16, 2))

    def test_twice_the_same(self, cross_inputs: Make) -> None:
        given = cross_inputs(1, 24, 47, 30, 16, 2)
        first, second = (results(cross_selective_scan, given, "triton") for _ in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_auto_takes_the_kernels(self) -> None:
        assert choose("auto", torch.device("cuda"), torch.float32).__name__.endswith("triton")
