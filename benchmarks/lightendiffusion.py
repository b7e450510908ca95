"""LightenDiffusion without what its published evaluation computes and throws away, and with fewer steps.

    python benchmarks/lightendiffusion.py [HEIGHT WIDTH]

"everything" is the published evaluation pass made of our layers: the dark picture twice through encoder and
decomposition, and a third time through the encoder for the decoder's skips, all features at full size at once. The
results are compared. Takes as many threads as PyTorch is given (``OMP_NUM_THREADS``). Needs the torch extra. The
published configuration with fresh weights, every figure from a process of its own.
"""

from __future__ import annotations

import sys
from typing import Any

from timing import dispatch, measure, memory_now, peak_memory, run_part, table

REPEATS = 3
STEPS = (1, 2, 5, 10)


def one(way: str, height: int, width: int, steps: int = 20, repeats: int = REPEATS) -> dict[str, float]:
    """One way to compute it: what it takes and needs, and the sum of its result's numbers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network, low = build(height, width)
    call = {"ours": lambda: network(low, steps=steps), "everything": lambda: everything(network, low)}[way]
    with torch.inference_mode():
        before = memory_now()
        enhanced = call()
        working, peak = peak_memory() - before, peak_memory()
        usage = measure(call, repeats)
        with FlopCounterMode(display=False) as counter:
            call()
    return {
        "wall": usage.wall,
        "cores": usage.cores,
        "working": working,
        "peak": peak,
        "multiply_adds": counter.get_total_flops() // 2,
        "sum": enhanced.double().sum().item(),
        "threads": torch.get_num_threads(),
    }


def everything(network: Any, low: Any) -> Any:
    from tapetum.methods.lightendiffusion import stage1

    kept, stage1._BAND = stage1._BAND, low.numel() * 100
    latent, _ = network.decom.encode(low)
    again, _ = network.decom.encode(low)
    network.decom.decompose(latent)
    network.decom.decompose(again)
    restored = network.restore_latent(latent)
    _, skips = network.decom.encode(low)
    enhanced = network.decom.decode(restored, skips)
    stage1._BAND = kept
    return enhanced


def build(height: int, width: int) -> tuple[Any, Any]:
    """The network, and a dark picture padded to multiples of 64."""
    import torch

    from tapetum.methods.registry import create_model

    torch.manual_seed(0)
    network: Any = create_model("lightendiffusion")
    multiple = network.properties.size_multiple
    sides = (-(-side // multiple) * multiple for side in (height, width))
    return network, 0.3 * torch.rand(1, 3, *sides)


def main(height: int = 400, width: int = 600) -> None:
    size = {"height": height, "width": width}
    whole = run_part(__file__, "one", way="everything", **size)
    results = {"everything": whole, "ours": run_part(__file__, "one", way="ours", **size)}
    if abs(results["ours"]["sum"] - whole["sum"]) > 1e-6 * abs(whole["sum"]):
        raise SystemExit(f"the results differ: {results['ours']['sum']} and {whole['sum']}")
    for steps in STEPS:
        plural = "s" if steps > 1 else ""
        results[f"ours, {steps} step{plural}"] = run_part(__file__, "one", way="ours", steps=steps, **size)
    threads = int(whole["threads"])
    print(f"## {height}x{width}, one picture, float32, {threads} thread{'s' if threads > 1 else ''}\n")
    rows = [
        [
            name,
            result["multiply_adds"] / 1e9,
            result["wall"],
            result["cores"],
            f"{whole['cores'] / result['cores']:.2f}",
            result["working"] / 1e6,
            result["peak"] / 1e6,
        ]
        for name, result in results.items()
    ]
    header = ["pass", "MACs, 10^9", "wall s", "core-s", "times faster (core-s)", "memory MB", "whole process MB"]
    print(table(header, rows), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].isdigit():
        main(int(sys.argv[1]), int(sys.argv[2]))
    else:
        dispatch({"one": one}, main)
