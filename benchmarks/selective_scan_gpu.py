"""The Triton back end of the selective scan on a GPU: is it right, how fast is it, what memory does it take.

    python benchmarks/selective_scan_gpu.py

Not yet run on a GPU: nobody who worked on it had one. Under Triton's interpreter the kernels agree with the reference
(tests/ops/test_triton.py); no figure of their speed is known. Needs the torch extra with a CUDA build of torch.

Prints three tables: the largest errors of values and gradients against the reference in float64; time, state steps
per second (batch M L N / time), bandwidth (the bytes of inputs and outputs, each once, / time) and peak memory of the
scan at the size of MambaLLIE's first group on a 400x600 picture, beside mamba-ssm's CUDA kernel where that can be
imported; the same of the four-direction scan, beside its composition with the same kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import table
from torch import Tensor

from tapetum.ops.selective_scan import cross_selective_scan, selective_scan
from tapetum.ops.selective_scan.unfused import cross_selective_scan as composed

Inputs = dict[str, Tensor]
SCAN = {"batch": 1, "groups": 4, "per_group": 96, "states": 32, "length": 240_000}
CROSS = {"batch": 1, "channels": 96, "height": 400, "width": 600, "states": 32, "rank": 3}


def scan_inputs(batch: int, groups: int, per_group: int, states: int, length: int, dtype: torch.dtype) -> Inputs:
    torch.manual_seed(0)
    channels = groups * per_group
    normal = partial(torch.randn, device="cuda", dtype=dtype)
    return {
        "u": normal(batch, channels, length),
        "delta": normal(batch, channels, length),
        "A": -torch.exp(normal(channels, states)),
        "B": normal(batch, groups, states, length),
        "C": normal(batch, groups, states, length),
        "D": normal(channels),
        "delta_bias": normal(channels) - 2,
    }


def cross_inputs(
    batch: int, channels: int, height: int, width: int, states: int, rank: int, dtype: torch.dtype
) -> Inputs:
    torch.manual_seed(0)
    normal = partial(torch.randn, device="cuda", dtype=dtype)
    return {
        "x": normal(batch, channels, height, width).contiguous(memory_format=torch.channels_last),
        "x_proj_weight": normal(4, rank + 2 * states, channels) / channels**0.5,
        "dt_projs_weight": normal(4, channels, rank) / rank**0.5,
        "dt_projs_bias": normal(4, channels) - 2,
        "A_logs": normal(4 * channels, states),
        "Ds": normal(4 * channels),
    }


def scan(backend: str, **given: Tensor) -> Tensor:
    y = selective_scan(**given, delta_softplus=True, backend=backend)  # type: ignore[arg-type]
    assert isinstance(y, Tensor)
    return y


def composition(A_logs: Tensor, **given: Tensor) -> Tensor:
    """The four-direction scan without fusion, around the same kernel."""
    return composed(**given, A=-torch.exp(A_logs), scan=partial(selective_scan, backend="triton"))  # type: ignore


def values_and_gradients(function: Callable[..., Tensor], given: Inputs) -> dict[str, Tensor]:
    tensors = {name: t.detach().requires_grad_() for name, t in given.items()}
    y = function(**tensors)
    torch.manual_seed(1)
    weight = torch.randn(y.shape, device="cuda", dtype=torch.float64).to(y.dtype)
    gradients = torch.autograd.grad(y, list(tensors.values()), weight)
    return {"y": y.detach()} | dict(zip(tensors, gradients, strict=True))


def errors() -> str:
    """Largest error over largest value, of float32 kernels against the reference in float64."""
    small: list[tuple[str, Callable[..., Tensor], Callable[..., Inputs], dict[str, int]]] = [
        ("scan, L = 4096, N = 32", scan, scan_inputs, {**SCAN, "length": 4096}),
        ("scan, L = 1001, N = 5", scan, scan_inputs, {**SCAN, "per_group": 13, "states": 5, "length": 1001}),
        ("cross scan, 60x44", cross_selective_scan, cross_inputs, {**CROSS, "height": 60, "width": 44}),
    ]
    rows = []
    for name, function, make, sizes in small:
        given = make(**sizes, dtype=torch.float64)
        expected = values_and_gradients(partial(function, backend="reference"), given)
        found = values_and_gradients(partial(function, backend="triton"), {k: t.float() for k, t in given.items()})
        error = {k: ((found[k] - e).abs().max() / e.abs().max()).item() for k, e in expected.items()}
        worst = max((k for k in error if k != "y"), key=error.__getitem__)
        rows.append((name, f"{error['y']:.1e}", f"{error[worst]:.1e} ({worst})"))
    return table(("case", "values", "worst gradient"), rows)


def milliseconds(call: Callable[[], object], repeats: int = 10) -> float:
    """The median over calls, after three that are not counted (the first compiles)."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[repeats // 2]


def row(name: str, function: Callable[..., Tensor], given: Inputs, state_steps: int) -> list[object]:
    """Forward, and forward with backward: time, state steps, bandwidth, memory beyond the inputs."""
    tensors = {k: t.detach().requires_grad_() for k, t in given.items()}
    grad = torch.randn_like(function(**given))

    def both() -> object:
        return torch.autograd.grad(function(**tensors), list(tensors.values()), grad)

    with torch.no_grad():
        forward = milliseconds(lambda: function(**given))
        peak = peak_of(lambda: function(**given))
    whole = milliseconds(both)
    moved = sum(t.nbytes for t in given.values()) + grad.nbytes
    return [
        name, forward, whole - forward, state_steps / forward / 1e6, moved / forward / 1e6, peak / 1e6,
        peak_of(both) / 1e6,
    ]  # fmt: skip


def peak_of(call: Callable[[], object]) -> int:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return torch.cuda.max_memory_allocated() - before


HEADER = ("", "forward ms", "backward ms", "G state steps/s", "GB/s", "forward: MB beyond inputs", "with backward")


def scans() -> str:
    given = scan_inputs(**SCAN, dtype=torch.float32)
    steps = given["u"].numel() * SCAN["states"]
    rows = [row("triton", partial(scan, "triton"), given, steps)]
    theirs = mamba_ssm()
    if theirs is not None:
        rows.append(row("mamba-ssm", theirs, given, steps))
    shorter = scan_inputs(**{**SCAN, "length": 2048}, dtype=torch.float32)
    steps = shorter["u"].numel() * SCAN["states"]
    rows.append(row("reference, L = 2048", partial(scan, "reference"), shorter, steps))
    return table(HEADER, rows) + ("" if theirs is not None else "\n\nmamba-ssm cannot be imported here: not compared.")


def mamba_ssm() -> Callable[..., Tensor] | None:
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn  # type: ignore
    except ImportError:
        return None
    return partial(selective_scan_fn, delta_softplus=True)


def cross_scans() -> str:
    given = cross_inputs(**CROSS, dtype=torch.float32)
    steps = 4 * given["x"].numel() * CROSS["states"]
    fused: Any = partial(cross_selective_scan, backend="triton")
    return table(HEADER, [row("fused", fused, given, steps), row("composition", composition, given, steps)])


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a CUDA device, and there is none")
    torch.backends.cuda.matmul.allow_tf32 = False
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    for title, part in (("Errors", errors), (f"Scan {SCAN}", scans), (f"Cross scan {CROSS}", cross_scans)):
        print(f"{title}\n\n{part()}\n", flush=True)


if __name__ == "__main__":
    main()
