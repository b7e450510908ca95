"""The enhancer: speed over picture size, memory under a budget, what tiles change.

    python benchmarks/enhancer.py

Needs the torch extra for the rows of Retinexformer (untrained: time, memory and locality do not depend on the weights).
"""

from __future__ import annotations

import time
from typing import Any

from timing import dispatch, measure, memory_now, peak_memory, run_part, table

SIZES = [(256, 384), (400, 600), (1000, 1500), (2000, 3000), (4000, 6000)]
BUDGETS = ["100MB", "200MB", "400MB", "800MB"]
PICTURES = [(2000, 3000), (4000, 6000), (6000, 9000), (1000, 30000)]


def night(height: int, width: int) -> Any:
    """A dark 8-bit picture with structure and noise."""
    import numpy as np

    random = np.random.default_rng(0)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    tile = random.normal(0, 4, (512, 512, 3))
    picture = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, 512):  # by parts: the peak of memory must be the enhancer's, not this function's
        for left in range(0, width, 512):
            part = picture[top : top + 512, left : left + 512]
            noise = tile[: part.shape[0], : part.shape[1]]
            wave = np.sin(rows[top : top + 512] / 97) * np.cos(columns[:, left : left + 512] / 131)
            part[:] = np.clip(30 + 20 * wave[..., None] + noise, 0, 255)
    return picture


def speed(height: int, width: int) -> dict[str, float]:
    import tapetum

    enhancer, picture = tapetum.Enhancer(), night(height, width)
    usage = measure(lambda: enhancer(picture), repeats=5 if height < 2000 else 2)
    return {"wall": usage.wall, "cores": usage.cores}


def memory(height: int, width: int, budget: str) -> dict[str, float]:
    import tapetum

    enhancer, picture = tapetum.Enhancer(memory=budget), night(height, width)
    enhancer(picture[:64, :64])
    before, begin = memory_now(), time.process_time()
    result = enhancer(picture)
    return {
        "working": peak_memory() - before - result.nbytes,
        "peak": peak_memory(),
        "cores": time.process_time() - begin,
    }


def tile_error(model: str, tile: int) -> dict[str, float]:
    import numpy as np

    import tapetum

    network: Any = model
    if model == "retinexformer":
        import torch

        torch.manual_seed(0)
        network = tapetum.create_model(model, {"n_feat": 16})
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim == 2:  # the attention's layers: away from their small first values
                    parameter *= 8
    picture = night(480, 640).astype(np.float32) / 255
    whole = tapetum.Enhancer(network, memory="100GB")(picture)
    difference = np.abs(tapetum.Enhancer(network, tile=tile)(picture) - whole) * 255
    return {"largest": float(difference.max()), "mean": float(difference.mean())}


def main() -> None:
    print("## Speed over picture size (default model, ONNX Runtime, uint8 in and out)\n")
    rows = []
    for height, width in SIZES:
        result, megapixels = run_part(__file__, "speed", height=height, width=width), height * width / 1e6
        rows.append([f"{width}x{height}", megapixels, result["wall"], result["cores"], result["cores"] / megapixels])
    print(table(["picture", "megapixels", "wall s", "core-s", "core-s per megapixel"], rows))

    print("\n## Memory under a budget (default model; working memory: beside program, picture and result)\n")
    rows = []
    for budget in BUDGETS:
        for height, width in PICTURES if budget == BUDGETS[1] else PICTURES[1:2]:
            result = run_part(__file__, "memory", height=height, width=width, budget=budget)
            rows.append([budget, f"{width}x{height}", result["working"] / 1e6, result["peak"] / 1e6, result["cores"]])
    print(table(["budget", "picture", "working memory MB", "whole process MB", "core-s"], rows))

    print("\n## What tiles change (640x480, in 8-bit levels; one level is the smallest step of a JPEG)\n")
    rows = []
    for model in ("default", "retinexformer"):
        for tile in (192, 256, 384):
            result = run_part(__file__, "tile_error", model=model, tile=tile)
            rows.append([model, f"{tile}x{tile}", f"{result['largest']:.2g}", f"{result['mean']:.2g}"])
    print(table(["model", "tile", "largest difference", "mean difference"], rows))


if __name__ == "__main__":
    dispatch({"speed": speed, "memory": memory, "tile_error": tile_error}, main)
