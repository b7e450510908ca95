"""Draws what a trained UPT-Flow does: what it makes of a night photograph at several temperatures, and where it finds
an edited picture unlikely.

    python scripts/draw_uptflow.py runs/uptflow-lolv1-narrow/weights.safetensors FOLDER

``uptflow-temperatures.jpg``: the sample ``rocket``, the results at each of TEMPERATURES, then mean and spread
(brighter: more) of DRAWN samples at the second one.
``uptflow-surprise.jpg``: the sample ``coffee-dark``, scikit-image's ``coffee`` with parts of it edited (noise,
moved, overwritten), and the map of surprise; then the same of the picture as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data

from tapetum import Enhancer, create_model
from tapetum.cli.surprise import mapped
from tapetum.imaging import read_picture, write_picture
from tapetum.imaging.comparison import sheet

SAMPLES = Path(__file__).resolve().parent.parent / "src" / "tapetum" / "assets" / "samples"
TEMPERATURES = (0.0, 0.5, 1.0)
DRAWN = 8
WIDTH, ACROSS = 320, 3
SIDE, MOVED, NOISE = 80, 6, 8.0  # of what is edited, in pixels and levels


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()

    network = create_model("uptflow", weights=options.weights)
    rocket = read_picture(SAMPLES / "rocket.jpg").pixels

    def drawn(temperature: float, seed: int = 0) -> np.ndarray:
        return as_bytes(Enhancer(network, "cpu", temperature=temperature, seed=seed)(rocket))

    samples = np.stack([drawn(TEMPERATURES[1], seed) for seed in range(DRAWN)])
    spread = samples.astype(np.float32).std(axis=0).mean(axis=2, keepdims=True).repeat(3, axis=2)
    spread = np.rint(255 * (spread / np.percentile(spread, 99)).clip(0, 1)).astype(np.uint8)
    mean = np.rint(samples.mean(axis=0)).astype(np.uint8)
    panels = [as_bytes(rocket), *(drawn(each) for each in TEMPERATURES), mean, spread]
    write(panels, options.folder / "uptflow-temperatures.jpg")

    dark, coffee = read_picture(SAMPLES / "coffee-dark.jpg").pixels, skimage.data.coffee()
    panels = []
    for picture in (edited(coffee), coffee):
        bits, surprise = mapped(dark, picture, options.weights, "cpu")
        print(f"{bits:.2f} bits per dimension")
        panels += [dark, picture, surprise.repeat(3, axis=2)]
    write(panels, options.folder / "uptflow-surprise.jpg")


def edited(picture: np.ndarray) -> np.ndarray:
    """Squares at the middle's height, from the left: with noise, moved by a few pixels, overwritten by another part."""
    height, width = picture.shape[:2]
    top = (height - SIDE) // 2
    lefts = [(2 * k + 1) * width // 6 - SIDE // 2 for k in range(3)]
    noisy, moved, overwritten = (np.s_[top : top + SIDE, left : left + SIDE] for left in lefts)
    result = picture.copy()
    noise = np.random.default_rng(0).normal(0, NOISE, (SIDE, SIDE, 3))
    result[noisy] = np.rint(np.clip(picture[noisy] + noise, 0, 255))
    result[moved] = picture[top + MOVED : top + MOVED + SIDE, lefts[1] : lefts[1] + SIDE]
    result[overwritten] = picture[:SIDE, -SIDE:]
    return result


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """8 bit, of 8 or 16."""
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)


def write(panels: list[np.ndarray], path: Path) -> None:
    write_picture(sheet(panels, ACROSS, WIDTH), path, quality=90)
    print(path)


if __name__ == "__main__":
    main()
