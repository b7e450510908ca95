"""The selective scan on processors: speed, memory and errors of the fused kernels, against the plain reference and
against the unfused composition of the four-direction scan. Ratios come from one run.

    python benchmarks/selective_scan.py            everything, as tables in markdown (under 3 minutes, 5 GB)

Seconds are processor time of the calling thread (medians), so that other work on the machine changes them little; only
the gain of a second core is wall time and wants an idle machine. Each part runs in a process of its own, so that peaks
of memory do not mix. The sizes are those of MambaLLIE's widest scan at 400x600.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from timing import dispatch, memory_now, peak_memory, run_part, table

CHANNELS, STATES, GROUPS, HEIGHT, WIDTH, RANK = 384, 32, 4, 400, 600, 3
LENGTH = HEIGHT * WIDTH
BACKWARD_LENGTH, REFERENCE_LENGTH = 48_000, 512
MB = 1e6


def sequences(length: int, channels: int = CHANNELS) -> dict[str, Any]:
    """Inputs with the ranges of a trained network: softplus(delta + bias) around 0.05, A from -1 to -32."""
    import torch

    torch.manual_seed(0)
    return {
        "u": torch.empty(1, channels, length).normal_(),
        "delta": torch.empty(1, channels, length).normal_(),
        "A": -torch.arange(1.0, STATES + 1).repeat(channels, 1),
        "B": torch.empty(1, GROUPS, STATES, length).normal_(),
        "C": torch.empty(1, GROUPS, STATES, length).normal_(),
        "D": torch.ones(channels),
        "delta_bias": torch.full((channels,), -3.0),
        "delta_softplus": True,
    }


def picture(height: int, width: int) -> dict[str, Any]:
    import torch

    torch.manual_seed(0)
    channels = CHANNELS // 4
    return {
        "x": torch.empty(1, channels, height, width).normal_().contiguous(memory_format=torch.channels_last),
        "x_proj_weight": torch.randn(4, RANK + 2 * STATES, channels) / channels**0.5,
        "dt_projs_weight": torch.randn(4, channels, RANK) / RANK**0.5,
        "dt_projs_bias": torch.full((4, channels), -3.0),
        "A_logs": torch.log(torch.arange(1.0, STATES + 1)).repeat(CHANNELS, 1),
        "Ds": torch.ones(CHANNELS),
    }


def seconds(call: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.thread_time) -> float:
    found = []
    for _ in range(repeats):
        begin = clock()
        call()
        found.append(clock() - begin)
    return statistics.median(found)


def first_call() -> dict[str, Any]:
    """What making the machine code costs a process."""
    from tapetum.ops.selective_scan import cross_selective_scan

    given = picture(4, 4)
    seen = []
    for _ in range(2):
        seen.append(seconds(lambda: cross_selective_scan(**given, backend="cpu"), 1))
    return {"seconds": seen[0] - seen[1]}


def forward(backend: str, length: int, repeats: int) -> dict[str, Any]:
    import torch

    from tapetum.ops.selective_scan import selective_scan

    torch.set_num_threads(1)
    given, small = sequences(length), sequences(200)
    selective_scan(**small, backend=backend)
    before = memory_now()
    y = selective_scan(**given, backend=backend)
    inputs = sum(t.nbytes for t in given.values() if isinstance(t, torch.Tensor))
    extra = peak_memory() - before - y.nbytes
    time_taken = seconds(lambda: selective_scan(**given, backend=backend), repeats)
    return {
        "seconds": time_taken,
        "rate": CHANNELS * STATES * length / time_taken / 1e9,
        "extra": max(extra, 0) / (inputs + y.nbytes),
    }


def plain_loop(length: int) -> dict[str, Any]:
    """The recurrence as it is written in papers and in most repositories: one step of the sequence after the other."""
    import torch

    torch.set_num_threads(1)
    given = sequences(length)
    u, A, D = given["u"], given["A"], given["D"]
    per_group = CHANNELS // GROUPS

    def run() -> None:
        step = torch.nn.functional.softplus(given["delta"] + given["delta_bias"][:, None])
        B, C = (given[name].repeat_interleave(per_group, dim=1) for name in "BC")
        decay = torch.exp(torch.einsum("bml,mn->bmln", step, A))
        drive = torch.einsum("bml,bmnl,bml->bmln", step, B, u)
        state, y = torch.zeros(1, CHANNELS, STATES), []
        for t in range(length):
            state = decay[:, :, t] * state + drive[:, :, t]
            y.append(torch.einsum("bmn,bmn->bm", state, C[..., t]))
        torch.stack(y, dim=-1) + D[:, None] * u

    run()
    time_taken = seconds(run, 3)
    return {"rate": CHANNELS * STATES * length / time_taken / 1e9}


def second_core(length: int) -> dict[str, Any]:
    import torch

    from tapetum.ops.selective_scan import selective_scan

    given = sequences(length)
    found = {1: [], 2: []}
    for _ in range(4):  # in turns, so that other work disturbs both alike
        for threads, times in found.items():
            torch.set_num_threads(threads)
            times.append(seconds(lambda: selective_scan(**given, backend="cpu"), 1, time.perf_counter))
    one, two = (min(times) for times in found.values())
    return {"gain": one / two}


def errors() -> dict[str, Any]:
    """Largest relative errors against float64, of values and of gradients: wide and short, narrow and long."""
    import torch

    from tapetum.ops.selective_scan import selective_scan

    found = {"values": 0.0, "gradients": 0.0}
    for channels, length in ((CHANNELS, 500), (16, 12_000)):
        given = sequences(length, channels)
        results = []
        for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
            leaves = {
                n: t.to(dtype, copy=True).requires_grad_() for n, t in given.items() if isinstance(t, torch.Tensor)
            }
            y = selective_scan(**leaves, delta_softplus=True, backend=backend)
            (y * torch.linspace(-1, 1, length, dtype=dtype)).sum().backward()
            results.append([y.detach(), *(t.grad for t in leaves.values())])
        each = [float((a.double() - b).abs().max() / b.abs().max()) for a, b in zip(*results, strict=True)]
        found["values"] = max(found["values"], each[0])
        found["gradients"] = max(found["gradients"], *each[1:])
    return found


def backward(length: int) -> dict[str, Any]:
    """Against a forward pass that keeps no states."""
    import torch

    from tapetum.ops.selective_scan import selective_scan

    torch.set_num_threads(1)
    given = sequences(length)
    run_forward = lambda: selective_scan(**given, backend="cpu")  # noqa: E731
    run_forward()
    one_way = seconds(run_forward, 3)
    leaves = {n: t.requires_grad_() if isinstance(t, torch.Tensor) else t for n, t in given.items()}
    y = selective_scan(**leaves, backend="cpu")
    grad = torch.ones_like(y)

    def run_backward() -> None:
        torch.autograd.grad(y, [t for t in leaves.values() if isinstance(t, torch.Tensor)], grad, retain_graph=True)

    run_backward()
    return {"forward": one_way, "backward": seconds(run_backward, 3)}


def cross(fused: bool, train: bool, height: int, width: int) -> dict[str, Any]:
    """Time and peak memory beyond the inputs, of the fused operator or of the composition with the same kernel."""
    import torch

    from tapetum.ops.selective_scan import cross_selective_scan, selective_scan, unfused

    torch.set_num_threads(1)

    def run(given: dict[str, Any]) -> None:
        if fused:
            y = cross_selective_scan(**given, backend="cpu")
        else:
            *tensors, A_logs, Ds = given.values()
            scan = lambda *arguments: selective_scan(*arguments, backend="cpu")  # noqa: E731
            y = unfused.cross_selective_scan(*tensors, -torch.exp(A_logs), Ds, scan)
        if train:
            y.backward(torch.ones_like(y))

    def inputs(height: int, width: int) -> dict[str, Any]:
        return {name: t.requires_grad_(train) for name, t in picture(height, width).items()}

    run(inputs(8, 8))
    given = inputs(height, width)
    before = memory_now()
    run(given)
    peak = peak_memory() - before
    return {"seconds": seconds(lambda: run(given), 3), "peak": peak}


def whole() -> None:
    def part(name: str, **arguments: Any) -> Any:
        return run_part(__file__, name, **arguments)

    print(f"{platform.processor() or platform.machine()}, M = {CHANNELS}, N = {STATES}, {GROUPS} groups\n")
    fast = part("forward", backend="cpu", length=LENGTH, repeats=3)
    slow = part("forward", backend="reference", length=REFERENCE_LENGTH, repeats=3)
    loop = part("plain_loop", length=REFERENCE_LENGTH)
    both_ways = part("backward", length=BACKWARD_LENGTH)
    error = part("errors")
    rows = [
        ["forward, one core, L = 240000", f"{fast['rate']:.2f} G state steps/s ({fast['seconds']:.2f} s)", ">= 1.5"],
        [f"loop over the steps in plain torch, L = {REFERENCE_LENGTH}", f"{loop['rate']:.3f} G state steps/s", ""],
        ["forward against that loop", f"{fast['rate'] / loop['rate']:.0f}x", ">= 40x"],
        [f"back end reference (chunks), L = {REFERENCE_LENGTH}", f"{slow['rate']:.3f} G state steps/s", ""],
        ["forward against back end reference", f"{fast['rate'] / slow['rate']:.0f}x", ""],
        ["two cores against one (wall)", f"{part('second_core', length=LENGTH // 4)['gain']:.2f}x", ">= 1.7x"],
        ["memory beyond inputs and output", f"{100 * fast['extra']:.1f} %", "<= 5 %"],
        ["error against float64, values", f"{error['values']:.1e}", "<= 1e-5"],
        ["error against float64, gradients", f"{error['gradients']:.1e}", ""],
        ["backward against forward", f"{both_ways['backward'] / both_ways['forward']:.2f}x", "<= 4x"],
        ["machine code, first call", f"{part('first_call')['seconds']:.2f} s", ""],
    ]
    print(table(["selective scan", "measured", "wanted"], rows))
    rows = []
    for what, train, height, width in (
        ("forward", False, HEIGHT, WIDTH),
        ("forward and backward", True, HEIGHT // 2, WIDTH // 2),
    ):
        one, other = (part("cross", fused=f, train=train, height=height, width=width) for f in (True, False))
        time_ratio, memory_ratio = one["seconds"] / other["seconds"], one["peak"] / other["peak"]
        rows.append(
            [
                f"{what}, {height}x{width}, E = {CHANNELS // 4}",
                *(f"{r['seconds']:.2f} s, {r['peak'] / MB:.0f} MB" for r in (one, other)),
                f"{time_ratio:.2f} of the time, {memory_ratio:.2f} of the memory",
                "<= 0.6, <= 0.3" if not train else "",
            ]
        )
    print("\n" + table(["four directions", "fused", "unfused, same kernel", "ratio", "wanted"], rows))


if __name__ == "__main__":
    parts = {f.__name__: f for f in (first_call, forward, plain_loop, second_core, errors, backward, cross)}
    dispatch(parts, whole)
