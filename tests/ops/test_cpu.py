"""The processors' back end: machine code for other processors than this one, the functions that it approximates."""

from __future__ import annotations

import platform
import re
from functools import partial
from typing import Any

import pytest
import torch

from tapetum import machine_code
from tapetum.ops.selective_scan import cross_selective_scan, selective_scan
from tapetum.ops.selective_scan.cpu.kernels import Variant, build

TARGETS = {
    "portable": machine_code.Target("x86-64", "", 4),
    "AVX2": machine_code.Target("haswell", "+avx2,+fma", 8),
    "AVX-512": machine_code.Target("skylake-avx512", "+avx512f,-prefer-256-bit", 16),
}


@pytest.fixture
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = TARGETS[request.param]
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("no x86-64 processor")
    if machine_code.this_machine().width < chosen.width:
        pytest.skip(f"this processor has no {request.param}")
    monkeypatch.setattr(machine_code, "this_machine", lambda: chosen)


@pytest.mark.parametrize("target", TARGETS, indirect=True)
@pytest.mark.usefixtures("target")
def test_every_vector_width(scan_inputs: Any, cross_inputs: Any, gradients: Any, largest_error: Any) -> None:
    sequence, picture = scan_inputs(1, 2, 20, 13, 300), cross_inputs(1, 20, 9, 18, 11, 3)
    for function, tensors in (
        (partial(selective_scan, delta_softplus=True), sequence),
        (cross_selective_scan, picture),
    ):
        expected = gradients(partial(function, backend="reference"), tensors, torch.float64)
        found = gradients(partial(function, backend="cpu"), tensors, torch.float32)
        assert max(map(largest_error, found, expected)) < 1e-5


@pytest.mark.parametrize(
    ("triple", "target", "fused"),
    [
        ("aarch64-unknown-linux-gnu", machine_code.Target("generic", "", 4), "fmla"),
        ("arm64-apple-macosx", machine_code.Target("apple-m1", "", 4), "fmla"),
        ("x86_64-unknown-linux-gnu", TARGETS["AVX2"], "vfmadd"),
        ("x86_64-pc-windows-msvc", TARGETS["AVX-512"], "zmm"),
    ],
)
@pytest.mark.parametrize("name", ["forward", "backward"])
def test_machine_code_for_other_machines(triple: str, target: machine_code.Target, fused: str, name: str) -> None:
    """It is made, multiplies and adds in one, and needs no library but C's: no mathematics, no stack probes."""
    text = machine_code.assembly(build(name, Variant(True, True, 3), target.width).raw.module, target, triple)
    assert fused in text
    called = re.findall(r"\tbl\t(\w+)|movabsq\t\$(\w+),|callq?\t(\w+)", text)
    named = {name for found in called for name in found if name and not name.isdigit()}
    assert named <= {"memset", "memcpy", "_memset", "_memcpy", "bzero", "_bzero"}


def test_softplus_and_exponential_everywhere() -> None:
    """L = 1, A = 0, B = C = 1 gives y = Δ u; L = 2 with one input gives exp(Δ A)."""
    raw = torch.cat([torch.linspace(-110, 110, 4001), torch.logspace(-30, 2, 500), -torch.logspace(-30, 2, 500)])
    one = torch.ones(1, 1, 1)
    u = torch.ones(1, raw.numel(), 1)
    y = selective_scan(u, raw.view(1, -1, 1), torch.zeros(raw.numel(), 1), one, one, delta_softplus=True, backend="cpu")
    expected = torch.nn.functional.softplus(raw.double(), threshold=1000)
    assert (
        ((y.flatten().double() - expected).abs()) / expected.clamp(min=1e-30)
    ).max() < 5e-6  # x log2(e) is rounded first

    exponents = torch.linspace(-80, 80, 5001)
    length_two = torch.tensor([1.0, 0.0]).expand(1, exponents.numel(), 2)
    ones = torch.ones(1, 1, 2)
    y = selective_scan(length_two, torch.ones_like(length_two), exponents[:, None], ones, ones, backend="cpu")
    expected = exponents.double().exp()
    assert ((y[0, :, 1].double() - expected).abs() / expected).max() < 1e-5


def test_no_tensor_of_channels_steps_and_states() -> None:
    """The backend's own memory stays far below (M, L, N) floats, forward and backward."""
    channels, length, states = 64, 20000, 32
    u, delta = torch.randn(2, 1, channels, length).requires_grad_()
    A = -torch.rand(channels, states)
    B, C = torch.randn(2, 1, 1, states, length)
    with torch.profiler.profile(profile_memory=True) as profile:
        y = selective_scan(u, delta, A, B, C, delta_softplus=True, backend="cpu")
        assert isinstance(y, torch.Tensor)
        y.sum().backward()
    allocated = sum(max(event.self_cpu_memory_usage, 0) for event in profile.events())
    assert allocated < channels * length * states * 4 / 2
