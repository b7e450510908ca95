"""MambaLLIE: the full network on 400x600, what its parts cost, memory per pixel, what tiles change.

    OMP_NUM_THREADS=2 python benchmarks/mamballie.py

Takes as many threads as PyTorch is given. Needs the torch extra, and scikit-image for a photograph. The weights are
untrained, on which time and memory do not depend; for tiles they are made lively (see ``lively``), or the bundled ones.
Bars: at most 25 s on two cores and 3 GB for the whole process.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from enhancer import night
from timing import dispatch, measure, memory_now, peak_memory, run_part, table

SECONDS, GIGABYTES = 25, 3


def build(config: str) -> Any:
    import torch

    from tapetum.methods.registry import create_model

    torch.manual_seed(0)
    return create_model("mamballie", config)


def lively(config: str) -> Any:
    """A network whose scans remember far and whose output depends on them strongly."""
    import torch

    network = build(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("out_proj.weight", "project_out.weight", "x_proj_weight")):
                parameter *= 3
            elif name.endswith("out_embed.weight"):
                parameter *= 2
    return network


def whole(config: str, height: int, width: int) -> dict[str, float]:
    """Time and memory of one pass; the first one compiles, and is not counted."""
    import torch

    network, low = build(config), torch.rand(1, 3, height, width)
    with torch.inference_mode():
        network(low[:, :, :64, :64])
        before = memory_now()
        usage = measure(lambda: network(low), repeats=2)
    return {
        "wall": usage.wall,
        "cores": usage.cores,
        "peak": usage.peak,
        "working": usage.peak - before,
        "threads": torch.get_num_threads(),
    }


def memory(config: str, height: int, width: int) -> dict[str, float]:
    """Working memory of one pass in bytes, and what the method declares per pixel."""
    import torch

    network, low = build(config), torch.rand(1, 3, height, width)
    with torch.inference_mode():
        network(low[:, :, :64, :64])
        before = memory_now()
        network(low)
    return {"working": peak_memory() - before, "declared": network.properties.bytes_per_pixel}


def shares(config: str, height: int, width: int) -> dict[str, float]:
    """Wall seconds of one pass by kind of operator."""
    import torch
    from torch import nn

    from tapetum.methods.mamballie import network as parts

    network, low = build(config), torch.rand(1, 3, height, width)
    spent: dict[str, float] = defaultdict(float)

    def timed(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            result = function(*arguments, **options)
            spent[kind] += time.perf_counter() - begin
            return result

        return call

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            kind = "pointwise convolutions" if module.kernel_size == (1, 1) else "convolutions"
            module.forward = timed("depth-wise convolutions" if module.groups > 1 else kind, module.forward)
        elif isinstance(module, nn.LayerNorm):
            module.forward = timed("normalisation", module.forward)
    for name, kind in (("pointwise", "linear layers"), ("cross_selective_scan", "scans, with their projections")):
        setattr(parts, name, timed(kind, getattr(parts, name)))
    with torch.inference_mode():
        network(low[:, :, :64, :64])
        spent.clear()
        timed("all", network)(low)
    spent["activations, gates, sums"] = 2 * spent["all"] - sum(spent.values())
    return dict(spent)


def tile_error(network: str, tile: int) -> dict[str, float]:
    """Of tiles against the whole picture, in 8-bit levels: largest, mean, and of means over 32x32 pixels; and the mean
    of tiles that are not brought to the picture's brightness. "lively": of a synthetic picture; else bundled weights,
    of scikit-image's `rocket`."""
    import dataclasses

    import numpy as np
    from skimage import data

    import tapetum

    picture = (night(480, 640) if network == "lively" else data.rocket()[:416]).astype(np.float32) / 255
    enhancer = tapetum.Enhancer(lively("narrow") if network == "lively" else network, memory="100GB")
    reference, tiled = enhancer(picture), enhancer.with_tiles(tile)
    difference = (tiled(picture) - reference) * 255
    cells = difference.reshape(picture.shape[0] // 32, 32, 20, 32, 3).mean((1, 3))
    tiled.engine.properties = dataclasses.replace(tiled.engine.properties, thumbnail_size=0)
    return {
        "largest": float(np.abs(difference).max()),
        "mean": float(np.abs(difference).mean()),
        "cells": float(np.abs(cells).max()),
        "alone": float(np.abs(tiled(picture) - reference).mean() * 255),
    }


def main() -> None:
    print("## One picture of 600x400, float32\n")
    rows, full = [], {}
    for config in ("published", "paper", "narrow"):
        result = run_part(__file__, "whole", config=config, height=400, width=600)
        full.setdefault("published", result)
        row = [result["wall"], result["cores"], result["working"] / 1e9, result["peak"] / 1e9]
        rows.append([config, int(result["threads"]), *row])
    print(table(["config", "threads", "wall s", "core-s", "working memory GB", "whole process GB"], rows))
    kept = full["published"]["wall"] <= SECONDS and full["published"]["peak"] <= GIGABYTES * 1e9
    print(f"\nBars of `published` ({SECONDS} s, {GIGABYTES} GB): {'kept' if kept else 'NOT KEPT'}.\n")

    print("## What the parts of `published` cost there\n")
    result = run_part(__file__, "shares", config="published", height=400, width=600)
    rows = [[kind, s, f"{100 * s / result['all']:.0f} %"] for kind, s in sorted(result.items(), key=lambda i: -i[1])]
    print(table(["part", "wall s", "share"], rows))

    print("\n## Working memory, bytes per pixel\n")
    rows = []
    for config in ("published", "paper", "narrow"):
        small, large = (run_part(__file__, "memory", config=config, height=h, width=384) for h in (128, 384))
        measured = (large["working"] - small["working"]) / (256 * 384)
        rows.append([config, f"{measured:.0f}", f"{large['working'] / (384 * 384):.0f}", large["declared"]])
    print(table(["config", "difference of two sizes", "of 384x384 in all", "declared"], rows))

    print("\n## What tiles change, in 8-bit levels\n")
    rows = []
    for network in ("mamballie-lolv1", "lively"):
        for tile in (160, 224, 320):
            error = run_part(__file__, "tile_error", network=network, tile=tile)
            rows.append(
                [network, f"{tile}x{tile}", *(f"{error[n]:.2g}" for n in ("largest", "cells", "mean", "alone"))]
            )
    print(table(["network", "tile", "largest", "largest of 32x32 means", "mean", "mean of tiles alone"], rows))


if __name__ == "__main__":
    dispatch({"whole": whole, "memory": memory, "shares": shares, "tile_error": tile_error}, main)
