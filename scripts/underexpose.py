"""How a RAW network does on a camera's own file: takes light away from it, adds noise, and has the network mend that.

    python scripts/underexpose.py FILE.dng FOLDER --weights WEIGHTS --ratio 100 [--geometry FILE]

The file is made brighter, so that its 99th percentile is 0.8, and counts as clean. Noise: P+G+r+u of the Sony A7S2 at
ISO 1600. Prints PSNR of the packed mosaics; ``FILE-xRATIO.jpg`` shows, developed: above noisy and one call of the
network, below three calls and clean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from tapetum.data.raw_noise.cameras import get_camera
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_noise.model import GeneratorDraws, add_noise, parameters_of_draws
from tapetum.imaging import Picture, write_picture
from tapetum.imaging.raw import read_raw
from tapetum.imaging.raw.develop import develop
from tapetum.imaging.raw.options import development
from tapetum.metrics.packed import psnr_packed
from tapetum.raw_enhancer import RawEnhancer

ISO = 1600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--ratio", type=float, default=100.0)
    parser.add_argument("--geometry", type=Path)
    options = parser.parse_args()
    raw = read_raw(options.file, options=development(geometry=options.geometry))
    packed = raw.packed()
    clean = np.clip(packed * np.float32(0.8 / np.quantile(packed, 0.99)), 0, 1)
    camera = get_camera("SonyA7S2")
    gain = camera.gain_at(ISO)
    noise = parameters_of_draws(camera, float(np.log(gain)), options.ratio, 0.0, 0.0, 0.0, camera.shapes[0])
    draws = GeneratorDraws(torch.Generator().manual_seed(0))
    noisy = add_noise(torch.from_numpy(clean), NoiseModel.parse("P+G+r+u"), noise, draws).clamp(0, 1).numpy()
    results = {"noisy": noisy}
    for iterations in (0, 2):
        enhancer = RawEnhancer("exposurediffusion", "cpu", weights=options.weights, iterations=iterations)
        results[f"{iterations + 1} calls"] = enhancer(noisy / np.float32(options.ratio), options.ratio, gain)
    for name, result in results.items():
        print(f"{name}: {psnr_packed(result, clean):.2f} dB")
    developed = [develop(raw.with_packed(result)).pixels for result in (*results.values(), clean)]
    rows = [np.concatenate(pair, axis=1) for pair in (developed[:2], developed[2:])]
    path = options.folder / f"{options.file.stem}-x{options.ratio:g}.jpg"
    write_picture(Picture(np.concatenate(rows)), path)
    print(path)


if __name__ == "__main__":
    main()
