"""Every method in one table: parameters, multiply-adds, time and memory of a pass, and the time beside Retinexformer's.

    python benchmarks/methods.py [--quick] [--size HxW ...] [NAME[:CONFIG] ...]

NAME is a method, or a bundled model; without names: the bundled default and all methods that enhance, also in their
configurations "paper" and "narrow"; ``--size``: others than 256x256 and 400x600; ``--quick``: 64x96 only, one
repetition, no ONNX, to see that all can be measured.
Pictures are padded to the multiples that a network wants; one that samples does so with its defaults. Takes as many
threads as PyTorch is given (``OMP_NUM_THREADS``). Needs the torch extra. Methods have fresh weights, on which time and
memory do not depend. Every figure is from a process of its own, and Retinexformer is always among the networks:
machines are noisy, look at the ratios.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from timing import dispatch, measure, memory_now, peak_memory, run_part, table

SIZES = ((256, 256), (400, 600))
QUICK_SIZES = ((64, 96),)
YARDSTICK = "retinexformer"
REPEATS = 3


def eager(name: str, height: int, width: int, device: str = "cpu", repeats: int = REPEATS) -> dict[str, float]:
    """One network in PyTorch, float32: what it holds, takes and needs. Memory: beside program and weights."""
    import torch

    network, low = build(name, height, width)
    network, low, small = network.to(device), low.to(device), build(name, 64, 64)[1].to(device)
    with torch.inference_mode():
        network(small)  # compiles what is compiled
        before = memory_now()
        if device == "cpu":
            network(low)
            working = peak_memory() - before
            usage = measure(lambda: network(low), repeats)
        else:
            torch.cuda.reset_peak_memory_stats()
            kept = torch.cuda.memory_allocated()

            def call() -> None:
                network(low)
                torch.cuda.synchronize()

            usage = measure(call, 5 * repeats)
            working = torch.cuda.max_memory_allocated() - kept
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "wall": usage.wall,
        "cores": usage.cores,
        "working": working,
        "peak": peak_memory(),
        "threads": torch.get_num_threads(),
    }


def multiply_adds(name: str, height: int, width: int) -> int:
    """Of convolutions and matrix products, counted by PyTorch as they are called. MambaLLIE's scan is not in it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network, low = build(name, height, width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(low)
    return counter.get_total_flops() // 2


def onnx(name: str, height: int, width: int, repeats: int = REPEATS) -> dict[str, float]:
    """The same network in ONNX Runtime; for a bundled model the file that ships, else an export of now."""
    import tempfile
    from pathlib import Path

    import numpy as np
    import torch

    from tapetum.engines.onnx import OnnxEngine
    from tapetum.weights.registry import NAMED_WEIGHTS

    with tempfile.TemporaryDirectory() as folder:
        if name in NAMED_WEIGHTS and NAMED_WEIGHTS[name].onnx is not None:
            path = NAMED_WEIGHTS[name].verified_onnx()
        else:
            from tapetum.deploy.export import export

            path = Path(folder, "network.onnx")
            export(build(name, 64, 64)[0], path)
        engine = OnnxEngine(path, threads=torch.get_num_threads())
        low = np.random.default_rng(0).random((1, 3, height, width), np.float32) * np.float32(0.3)
        properties = engine.properties
        context = low[:, :, : properties.thumbnail_size, : properties.thumbnail_size].copy()
        given = context if properties.context == "thumbnail" else None
        usage = measure(lambda: engine.run(low, given), repeats)
    return {"wall": usage.wall, "cores": usage.cores}


def build(name: str, height: int, width: int) -> tuple[Any, Any]:
    """The network of ``NAME`` or ``NAME:CONFIG``, and a dark picture ``(1, C, height, width)``."""
    import torch

    from tapetum.methods.registry import create_model

    torch.manual_seed(0)
    model, _, config = name.partition(":")
    network: Any = create_model(model, config or None)
    channels = {"srgb": 3, "raw": 4}[network.properties.domain]
    multiple, minimum = network.properties.size_multiple, network.properties.minimum_size
    height, width = (-(-max(side, minimum) // multiple) * multiple for side in (height, width))
    low = 0.3 * torch.rand(1, channels, height, width)
    if model == "uptflow":  # a flow refuses to decode before a first batch has initialised it
        small = low[:, :, :64, :64]
        with torch.no_grad():
            network.train().encode(3 * small, network.conditions(small))
        network.eval()
    return network, low


def everything() -> list[str]:
    """The bundled default, and every method but those that another one begins with (they do not enhance); narrow
    configurations beside the default one."""
    from tapetum.methods.registry import get_method, list_methods
    from tapetum.weights.registry import NAMED_WEIGHTS

    names = ["default"] if "default" in NAMED_WEIGHTS else []
    only_begin = {get_method(method).after for method in list_methods()}
    for method in list_methods():
        if method in only_begin:
            continue
        if method != "twilight" or not names:
            names.append(method)
        names += [f"{method}:{config}" for config in ("paper", "narrow") if config in get_method(method).configs]
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME[:CONFIG]")
    parser.add_argument("--size", action="append", metavar="HxW", help="again for more")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    sizes: Sequence[tuple[int, ...]] = QUICK_SIZES if options.quick else SIZES
    if options.size:
        sizes = [tuple(int(side) for side in size.split("x")) for size in options.size]
    # in a process of its own: this one must stay small, or the others would seem to have its memory
    whole(options.names or run_part(__file__, "everything"), sizes, options.quick)


def whole(names: list[str], sizes: Sequence[tuple[int, ...]], quick: bool = False) -> None:
    names = [*names, *([] if YARDSTICK in names else [YARDSTICK])]
    gpu = run_part(__file__, "has_gpu")
    for height, width in sizes:
        arguments = {name: {"name": name, "height": height, "width": width} for name in names}
        repeats = 1 if quick else REPEATS
        results = {name: run_part(__file__, "eager", **given, repeats=repeats) for name, given in arguments.items()}
        yardstick = results[YARDSTICK]
        threads = int(yardstick["threads"])
        print(f"## {height}x{width}, one picture, float32, {threads} thread{'s' if threads > 1 else ''}\n")
        rows = []
        for name, result in results.items():
            macs = run_part(__file__, "multiply_adds", **arguments[name])
            row: list[object] = [name, f"{int(result['parameters']):,}", macs / 1e9, result["wall"], result["cores"]]
            row += [f"{result['cores'] / yardstick['cores']:.2f}", result["working"] / 1e6, result["peak"] / 1e6]
            row += [] if quick else in_onnx(arguments[name], yardstick["cores"])
            if gpu:
                on_gpu = run_part(__file__, "eager", **arguments[name], device="cuda")
                row += [1e3 * on_gpu["wall"], on_gpu["working"] / 1e6]
            rows.append(row)
        header = ["network", "parameters", "MACs, 10^9", "wall s", "core-s", f"of {YARDSTICK}'s core-s"]
        header += ["memory MB", "whole process MB"]
        header += [] if quick else ["ONNX Runtime wall s", f"of {YARDSTICK}'s eager core-s"]
        print(table([*header, *(["GPU ms", "GPU memory MB"] if gpu else [])], rows), flush=True)
        print()


def in_onnx(arguments: dict[str, object], yardstick: float) -> list[object]:
    """Wall time, and core time beside the yardstick's; "none" where a network has no such form."""
    try:
        exported = run_part(__file__, "onnx", **arguments)
    except RuntimeError as error:
        if "has no ONNX form" not in str(error):
            raise
        return ["none", ""]
    return [exported["wall"], f"{exported['cores'] / yardstick:.2f}"]


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


PARTS = {"eager": eager, "multiply_adds": multiply_adds, "onnx": onnx, "everything": everything, "has_gpu": has_gpu}

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in PARTS:
        dispatch(PARTS, main)
    else:
        main()
