"""Draws what a trained LightenDiffusion does: how it decomposes a dark and a normal picture of one scene, and what it
makes of a night photograph in fewer and more steps.

    python scripts/draw_lightendiffusion.py runs/lightendiffusion-narrow-stage2/weights.safetensors FOLDER

``lightendiffusion-parts.jpg``: the sample ``coffee-dark`` above scikit-image's ``coffee``; picture, reflectance,
illumination, and the picture decoded from its own reflectance under the *normal* one's light, with its own skips.
``lightendiffusion-steps.jpg``: the sample ``rocket``, then the result of each of STEPS.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from torch import Tensor

from tapetum import Enhancer, create_model
from tapetum.imaging import read_picture, write_picture
from tapetum.imaging.comparison import sheet

SAMPLES = Path(__file__).resolve().parent.parent / "src" / "tapetum" / "assets" / "samples"
STEPS = (1, 2, 4, 10, 20)
WIDTH = 320


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    network = create_model("lightendiffusion", weights=options.weights)
    scene = [read_picture(SAMPLES / "coffee-dark.jpg").pixels, skimage.data.coffee()]
    write(parts(network, scene), 4, options.folder / "lightendiffusion-parts.jpg")
    rocket = read_picture(SAMPLES / "rocket.jpg").pixels
    results = [Enhancer(network, "cpu", steps=steps)(rocket) for steps in STEPS]
    write([rocket, *results], 3, options.folder / "lightendiffusion-steps.jpg")


@torch.no_grad()
def parts(network: Any, scene: list[np.ndarray]) -> list[np.ndarray]:
    """Dark and normal picture ``(H, W, 3)`` uint8: four panels of each."""
    height, width = (side // 8 * 8 for side in scene[0].shape[:2])
    stage1, encoded = network.decom, []
    for each in scene:
        image = torch.from_numpy(each[:height, :width].astype(np.float32) / 255).permute(2, 0, 1)[None]
        latent, skips = stage1.encode(image)
        encoded.append((image, *stage1.decompose(latent), skips))
    light = encoded[1][2]
    panels = []
    for image, reflectance, illumination, skips in encoded:
        views = (image, reflectance, illumination, stage1.decode(reflectance * light, skips))
        panels += [as_bytes(torch.nn.functional.interpolate(view, (height, width))) for view in views]
    return panels


def as_bytes(image: Tensor) -> np.ndarray:
    pixels = image[0].clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0) * 255
    return pixels.round().to(torch.uint8).numpy()


def write(panels: list[np.ndarray], across: int, path: Path) -> None:
    write_picture(sheet(panels, across, WIDTH), path, quality=90)
    print(path)


if __name__ == "__main__":
    main()
