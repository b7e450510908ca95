"""What measuring costs: SSIM beside scikit-image's, and where the time of a whole evaluation goes.

    python benchmarks/metrics.py [--pictures N]

First table: processor time of one call on pictures of 400x600, medians, both programs in turn, and how far their values
differ. Second: ``measure_pairs`` (decode, PSNR and SSIM plain and after GT-mean) over N pairs of stored PNG files, as
``tapetum evaluate --predictions`` does it: the share of each part by the profiler, and the memory after a tenth of the
pictures, after all of them, and at most until the table is made, each picture a scene of its own. What is
left when those parts are taken away is Python, and turning bytes into floats (`read_picture_file`).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from skimage import data
from skimage.metrics import structural_similarity
from timing import measure, memory_now, peak_memory, table

from tapetum.data.layouts import read_picture_file
from tapetum.data.pairs import Pair
from tapetum.evaluation.protocols import get_protocol
from tapetum.evaluation.report import Row, summarise
from tapetum.evaluation.run import measure_pairs, stored
from tapetum.imaging import Picture, write_picture
from tapetum.metrics import ssim, ssim_gaussian_valid_uint8, ssim_uniform7_uint8

DISTINCT = 12  # files; more pictures than that are the same ones again
# functions of the second table, by file and name; their time includes what they call
PARTS = {
    "decoding": ("data/pictures.py", "load_rgb"),
    "SSIM": ("metrics/ssim.py", "ssim_gaussian_valid_uint8"),
    "PSNR": ("metrics/psnr.py", "psnr_rgb_uint8"),
    "GT-mean": ("metrics/gt_mean.py", "gt_mean_gray601_rgb"),
    "of all, checks of the values": ("metrics/pictures.py", "check"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    count = parser.parse_args().pictures
    print(table(["measure", "ours, s", "scikit-image, s", "times as fast", "difference"], list(map(compare, OURS))))
    with tempfile.TemporaryDirectory() as folder:
        print()
        profile(make_files(Path(folder)), count)


def gaussian_of_scikit_image(a: np.ndarray, b: np.ndarray) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(np.mean(structural_similarity(a, b, channel_axis=-1, data_range=255, **options)))


def uniform_of_scikit_image(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(structural_similarity(a, b, channel_axis=-1, data_range=255)))


def gaussian_by_numpy(a: np.ndarray, b: np.ndarray) -> float:
    """As where there is no llvmlite."""
    with patch.object(ssim, "_compiled", lambda: None):
        return ssim_gaussian_valid_uint8(a, b)


OURS: dict[str, tuple[Callable[..., float], Callable[..., float]]] = {
    "ssim_gaussian_valid_uint8": (ssim_gaussian_valid_uint8, gaussian_of_scikit_image),
    "the same, NumPy alone": (gaussian_by_numpy, gaussian_of_scikit_image),
    "ssim_uniform7_uint8": (ssim_uniform7_uint8, uniform_of_scikit_image),
}


def compare(name: str) -> list[object]:
    ours, reference = OURS[name]
    a, b = picture(0), picture(0, noise=10)
    first, second = (measure(lambda call=call: call(a, b), 15).cores for call in (ours, reference))
    return [name, f"{first:.4f}", f"{second:.4f}", f"{second / first:.1f}", f"{abs(ours(a, b) - reference(a, b)):.0e}"]


def picture(number: int, noise: float = 0.0) -> np.ndarray:
    """``(400, 600, 3)`` uint8: a part of a photograph that scikit-image carries."""
    rng = np.random.default_rng(number)
    whole = data.coffee() if number % 2 else data.rocket()
    part = np.roll(whole, rng.integers(0, 400, 2), (0, 1))[:400, :600]
    part = np.pad(part, ((0, 400 - part.shape[0]), (0, 600 - part.shape[1]), (0, 0)), "reflect")
    return np.clip(part + rng.normal(0, noise, part.shape), 0, 255).astype(np.uint8)


def make_files(folder: Path) -> list[Pair]:
    for number in range(DISTINCT):
        for side, noise in (("low", 4.0), ("target", 0.0), ("enhanced", 10.0)):
            (folder / side).mkdir(exist_ok=True)
            write_picture(Picture(picture(number, noise)), folder / side / f"{number}.png")
    sides = [[folder / side / f"{number}.png" for side in ("low", "target")] for number in range(DISTINCT)]
    return [Pair(low.stem, low, target, low.stem) for low, target in sides]


def profile(pairs: list[Pair], count: int) -> None:
    predict = stored(pairs[0].low.parents[1] / "enhanced", pairs)
    many = [replace(pairs[i % DISTINCT], scene=str(i)) for i in range(count)]
    rows = measure_pairs("", "", many, predict, get_protocol("strict"), read_picture_file, "gt_mean_gray601_rgb")
    kept: list[Row] = []
    memory = []
    profiler = cProfile.Profile()
    begin = time.process_time()
    profiler.enable()
    for done, row in enumerate(rows, 1):
        kept.append(row)
        if done in (max(count // 10, 1), count):
            memory.append(memory_now())
    profiler.disable()
    seconds = time.process_time() - begin
    stats = pstats.Stats(profiler)
    times = {part: cumulative(stats, *where) for part, where in PARTS.items()}
    clock = sum(row[2] for row in stats.stats.values())  # type: ignore[attr-defined]
    inside = sum(times[part] for part in ("decoding", "SSIM", "PSNR", "GT-mean"))
    shares = [[part, f"{100 * value / clock:.1f} %"] for part, value in times.items()]
    print(
        table(
            ["part", "share"],
            [*shares, ["bytes into floats, Python, and all else", f"{100 * (clock - inside) / clock:.1f} %"]],
        )
    )
    print(f"\n{count} pictures: {1000 * seconds / count:.0f} ms of a core each (profiler on)")
    first, last = (value / 1e6 for value in memory[:2]) if len(memory) > 1 else (memory[0] / 1e6,) * 2
    print(f"memory after {max(count // 10, 1)} pictures {first:.0f} MB, after {count} {last:.0f} MB", end="")
    before = peak_memory()
    summarise(kept)
    print(f"; at most {before / 1e6:.0f} MB, with the intervals {peak_memory() / 1e6:.0f} MB")


def cumulative(stats: pstats.Stats, file: str, function: str) -> float:
    rows = stats.stats  # type: ignore[attr-defined]
    return sum(row[3] for (path, _, name), row in rows.items() if path.endswith(file) and name == function)


if __name__ == "__main__":
    main()
