"""The default model: against Retinexformer in the same run, and whole command lines from a cold start.

    python benchmarks/default_speed.py

Needs the torch extra. Retinexformer has fresh weights: its speed does not depend on them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from timing import dispatch, measure, run_part, run_process, table, tapetum_command


def networks() -> dict[str, dict[str, float]]:
    """Both networks alone, 400x600, float32."""
    import numpy as np
    import torch

    import tapetum
    from tapetum.engines.onnx import OnnxEngine
    from tapetum.engines.torch import TorchEngine
    from tapetum.weights.registry import NAMED_WEIGHTS

    low = np.random.default_rng(0).random((1, 3, 400, 600), np.float32) * 0.3
    default = OnnxEngine(NAMED_WEIGHTS["default"].verified_onnx())
    thumbnail = np.ascontiguousarray(low[:, :, :64, :64])
    single = OnnxEngine(NAMED_WEIGHTS["default"].verified_onnx(), threads=1)
    large = TorchEngine(tapetum.create_model("retinexformer"), "cpu")
    first = measure(lambda: default.run(low, thumbnail), repeats=15)
    alone = measure(lambda: single.run(low, thumbnail), repeats=15)
    second = measure(lambda: large.run(low), repeats=2)
    again = measure(lambda: default.run(low, thumbnail), repeats=15)
    return {
        f"default, ONNX Runtime, {torch.get_num_threads()} threads of PyTorch beside": {
            "wall": min(first.wall, again.wall),
            "cores": min(first.cores, again.cores),
        },
        "default, ONNX Runtime, 1 thread": {"wall": alone.wall, "cores": alone.cores},
        "Retinexformer, PyTorch eager": {"wall": second.wall, "cores": second.cores},
    }


def write_picture(path: str, height: int, width: int) -> None:
    from enhancer import night

    from tapetum.imaging import Picture
    from tapetum.imaging import write_picture as write

    write(Picture(night(height, width)), path)


def main() -> None:
    print("## One picture of 600x400, network alone, float32\n")
    result = run_part(__file__, "networks")
    slowest = max(each["cores"] for each in result.values())
    rows = [[name, each["wall"], each["cores"], f"{slowest / each['cores']:.0f}x"] for name, each in result.items()]
    print(table(["network", "wall s", "core-s", "times faster (core-s)"], rows))

    print("\n## `tapetum enhance`, the whole process from a cold start\n")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, height, width in (("small, 600x400", 400, 600), ("24 megapixels, 6000x4000", 4000, 6000)):
            source, out = str(Path(folder) / f"{width}.jpg"), str(Path(folder) / f"out-{width}.jpg")
            run_part(__file__, "write_picture", path=source, height=height, width=width)
            command = [tapetum_command(), "enhance", source, "-o", out, "--overwrite"]
            runs = [run_process(*command) for _ in range(3)]
            best = min(runs, key=lambda run: run.wall)
            rows.append([name, best.wall, best.cores, max(run.peak for run in runs) / 1e6])
        usage = min((run_process(tapetum_command(), "--help") for _ in range(3)), key=lambda run: run.wall)
        rows.append(["--help", usage.wall, usage.cores, usage.peak / 1e6])
        usage = min((run_process(sys.executable, "-c", "pass") for _ in range(3)), key=lambda run: run.wall)
        rows.append(["(Python alone)", usage.wall, usage.cores, usage.peak / 1e6])
    print(table(["JPEG", "wall s", "core-s", "peak MB"], rows))


if __name__ == "__main__":
    dispatch({"networks": networks, "write_picture": write_picture}, main)
