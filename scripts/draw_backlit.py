"""Shows what a model makes of light from behind: photographs that scikit-image carries, with synthetic backlight.

    python scripts/draw_backlit.py FOLDER --model retidiff-backlit [--weights FILE]

Printed: PSNR of the backlit and of the enhanced picture against the photograph, plain and after GT-mean.
``FOLDER/backlit.jpg``: a row for each photograph: with light from behind, enhanced, itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from skimage import data

from tapetum import Enhancer
from tapetum.data.synthesis import Backlight, add_noise, backlight, draw_noise
from tapetum.imaging import linear_to_srgb, srgb_to_linear, write_picture
from tapetum.imaging.comparison import sheet
from tapetum.metrics import correction
from tapetum.metrics import psnr_rgb_uint8 as psnr

# where the subject is
SHADES = {
    "astronaut": Backlight(stops=3.5, gain=0.3, centre=(0.6, 0.45), radii=(0.5, 0.4), by_light=0.3, veil=0.004),
    "chelsea": Backlight(stops=3.0, gain=0.3, centre=(0.5, 0.5), radii=(0.55, 0.35), by_light=0.3, veil=0.004),
    "coffee": Backlight(stops=4.0, gain=0.2, centre=(0.5, 0.5), radii=(0.4, 0.35), by_light=0.2, veil=0.004),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="retidiff-backlit")
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    enhancer = Enhancer(options.model, weights=options.weights)
    matched = correction("gt_mean_gray601_rgb")
    panels = []
    for name, how in SHADES.items():
        photograph = getattr(data, name)()
        photograph = photograph[: photograph.shape[1] * 2 // 3]  # rows of one height
        rng = np.random.default_rng(0)
        light = backlight(srgb_to_linear(photograph / np.float32(255)), how)
        light = add_noise(light, draw_noise(rng, 0.3), rng)
        low = np.rint(255 * linear_to_srgb(np.clip(light, 0, 1))).astype(np.uint8)
        enhanced = enhancer(low)
        told = [f"{psnr(a, photograph):.2f} / {psnr(matched(a, photograph), photograph):.2f}" for a in (low, enhanced)]
        print(f"{name}: backlit {told[0]} dB, enhanced {told[1]} dB (plain / GT-mean)")
        panels += [low, enhanced, photograph]
    path = options.folder / "backlit.jpg"
    write_picture(sheet(panels, 3, 400), path)
    print(path)


if __name__ == "__main__":
    main()
