"""Which crops ``tapetum data check`` finds: photographs in training, crops of them and of others in test.

    python scripts/crop_recall.py FOLDER [--beside FOLDER ...] [--zoom 1.0 1.03 ...] [--light 0.06]

Every second photograph of FOLDER is in training (with all of ``--beside``), and crops of every photograph are tests:
each side divided by the zoom, anywhere in the picture. So half of them leak. Prints for each zoom which part of these
is found, and how many of the other half are said to leak. ``--light`` makes the tests so much darker, and adds noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.check.listing import Listing, Member
from tapetum.data.check.report import check
from tapetum.data.pictures import list_pictures
from tapetum.imaging import read_picture

ZOOMS = (1.0, 1.02, 1.03, 1.05, 1.08, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45, 1.5, 1.56, 1.6, 1.65, 1.7, 1.8)
SHOT, READ = 1e-4, 1e-6  # variance of the noise: the first by light


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--beside", type=Path, nargs="*", default=[])
    parser.add_argument("--zoom", type=float, nargs="*", default=ZOOMS)
    parser.add_argument("--light", type=float, default=1.0)
    options = parser.parse_args()
    photographs = list_pictures(options.folder)
    beside = [path for folder in options.beside for path in list_pictures(folder)]
    training = [Member(f"train/{n}", "train", None, path) for n, path in enumerate([*photographs[::2], *beside])]
    for zoom in options.zoom:
        tests = [Member(f"test/{path.stem}", "test", None, Path("test") / path.name) for path in photographs]
        places = {member.target: number for number, member in enumerate(tests)}

        def read(path: Path, zoom: float = zoom, places: dict[Path, int] = places) -> NDArray[Any]:
            if path not in places:
                return read_picture(path).pixels
            random = np.random.default_rng(places[path])
            return darken(crop(read_picture(photographs[places[path]]).pixels, zoom, random), options.light, random)

        report = check(Listing(options.folder, {"train": "train", "test": "test"}, training + tests, [], read))
        leaks = {leak.test.name for leak in report.leaks}
        found = sum(member.name in leaks for member in tests[::2])
        wrong = sum(member.name in leaks for member in tests[1::2])
        print(f"zoom {zoom:.2f}: {found} of {len(tests[::2])} found, {wrong} of {len(tests[1::2])} wrong", flush=True)


def crop(pixels: NDArray[Any], zoom: float, random: np.random.Generator) -> NDArray[Any]:
    height, width = (round(side / zoom) for side in pixels.shape[:2])
    top = random.integers(0, pixels.shape[0] - height + 1)
    left = random.integers(0, pixels.shape[1] - width + 1)
    return pixels[top : top + height, left : left + width]


def darken(pixels: NDArray[Any], light: float, random: np.random.Generator) -> NDArray[Any]:
    """With photon and read noise, in 8 bits; 1: unchanged."""
    if light == 1:
        return pixels
    linear = (pixels / np.iinfo(pixels.dtype).max) ** 2.2 * light
    linear += random.normal(0, 1, linear.shape) * np.sqrt(SHOT * linear + READ)
    return np.rint(np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
