"""Draws what a trained UPT-Flow does: what it makes of a night photograph at several temperatures, and where it finds
an edited picture unlikely.

    python scripts/draw_uptflow.py runs/uptflow-lolv1-narrow/weights.safetensors FOLDER

``uptflow-temperatures.jpg``: the sample ``rocket``, the results at each of TEMPERATURES, then mean and spread
(brighter: more) of DRAWN samples at the last one.
``uptflow-surprise.jpg``: the sample ``coffee-dark``, scikit-image's ``coffee`` with parts of it edited (made red,
blurred, overwritten), and the map of surprise; then the same of the picture as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
import skimage.filters
from draw_lightendiffusion import SAMPLES, write

from tapetum import Enhancer, create_model
from tapetum.cli.surprise import mapped
from tapetum.imaging import read_picture

TEMPERATURES = (0.0, 0.5, 1.0)
DRAWN = 8
SIDE = 80  # of what is edited


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()

    network = create_model("uptflow", weights=options.weights)
    rocket = read_picture(SAMPLES / "rocket.jpg").pixels
    results = [Enhancer(network, "cpu", temperature=each)(rocket) for each in TEMPERATURES]
    drawn = np.stack(
        [Enhancer(network, "cpu", temperature=TEMPERATURES[-1], seed=seed)(rocket) for seed in range(DRAWN)]
    )
    spread = drawn.astype(np.float32).std(axis=0).mean(axis=2, keepdims=True).repeat(3, axis=2)
    spread = np.rint(255 * (spread / np.percentile(spread, 99)).clip(0, 1)).astype(np.uint8)
    mean = np.rint(drawn.mean(axis=0)).astype(np.uint8)
    write([rocket, *results, mean, spread], 3, options.folder / "uptflow-temperatures.jpg")

    dark, coffee = read_picture(SAMPLES / "coffee-dark.jpg").pixels, skimage.data.coffee()
    panels = []
    for picture in (edited(coffee), coffee):
        bits, surprise = mapped(dark, picture, options.weights, "cpu")
        print(f"{bits:.2f} bits per dimension")
        panels += [dark, picture, surprise.repeat(3, axis=2)]
    write(panels, 3, options.folder / "uptflow-surprise.jpg")


def edited(picture: np.ndarray) -> np.ndarray:
    """A square made red, one blurred, one overwritten by another part: from left to right, at the middle's height."""
    height, width = picture.shape[:2]
    top = (height - SIDE) // 2
    lefts = [(2 * k + 1) * width // 6 - SIDE // 2 for k in range(3)]
    red, blurred, moved = (np.s_[top : top + SIDE, left : left + SIDE] for left in lefts)
    result = picture.copy()
    result[red] = result[red] // 2 + np.uint8([120, 0, 0])
    result[blurred] = np.rint(skimage.filters.gaussian(picture[blurred], 3, channel_axis=2, preserve_range=True))
    result[moved] = picture[:SIDE, -SIDE:]
    return result


if __name__ == "__main__":
    main()
