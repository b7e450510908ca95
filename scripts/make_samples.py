"""Make the sample pictures that ship in ``src/tapetum/assets/samples``. Deterministic: the same files every time.

    python scripts/make_samples.py [FOLDER]

Photographs come from scikit-image (those it carries itself, nothing is downloaded). ``rocket.jpg`` is copied byte for
byte; ``astronaut.jpg`` is well lit; the others are darkened by the physics of ``tapetum.data.synthesis``: linear light,
less of it, photon and read noise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage.data

from tapetum.data.synthesis import Darkening, Noise, add_noise, darken, to_srgb_bytes
from tapetum.imaging import Picture, write_picture
from tapetum.imaging.colour import srgb_to_linear

SAMPLES = Path(__file__).resolve().parent.parent / "src" / "tapetum" / "assets" / "samples"
# name: (photograph of scikit-image, exposure and light, noise)
DARK = {
    "coffee-dark": ("coffee", Darkening(stops=4.0, tint=(1.08, 1.0, 0.92)), Noise(shot=3e-4, read=8e-4)),
    "cat-dark": ("chelsea", Darkening(stops=3.2, falloff=0.5, angle=0.6), Noise(shot=6e-4, read=1.5e-3, blotch=0.5)),
}


def make_samples(folder: Path) -> None:
    """Write the samples into an existing folder."""
    carried = Path(skimage.data.__file__).parent
    (folder / "rocket.jpg").write_bytes((carried / "rocket.jpg").read_bytes())
    write_picture(Picture(skimage.data.astronaut()), folder / "astronaut.jpg", quality=90)
    for seed, (name, (photograph, darkening, noise)) in enumerate(DARK.items()):
        light = srgb_to_linear(getattr(skimage.data, photograph)().astype(np.float32) / 255)
        dark = add_noise(darken(light, darkening), noise, np.random.default_rng(seed))
        write_picture(Picture(to_srgb_bytes(dark)), folder / f"{name}.jpg", quality=92)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    target.mkdir(parents=True, exist_ok=True)
    make_samples(target)
    for path in sorted(target.glob("*.jpg")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
