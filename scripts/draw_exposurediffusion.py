"""Draws what a trained ExposureDiffusion does to a photograph made RAW with a camera's noise.

    python scripts/draw_exposurediffusion.py runs/exposurediffusion-narrow-pgru/weights.safetensors FOLDER

``exposurediffusion-ratios.jpg``: the sample ``astronaut``, exposed 1/100 and 1/300 as long as it should be, with
P+G+r+u noise of the Sony A7S2 at ISO 1600. From the left: amplified, after one call of the network, after three, clean.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tapetum.data.raw_noise.cameras import get_camera
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.unprocessing import draw_development, process
from tapetum.evaluation.raw_run import made_cases
from tapetum.imaging import Picture, write_picture
from tapetum.methods.exposurediffusion.exposure import expose, position_draw
from tapetum.weights.loading import load_model

SAMPLE = Path(__file__).resolve().parent.parent / "src" / "tapetum" / "assets" / "samples" / "astronaut.jpg"
RATIOS = (100.0, 300.0)
ISO = 1600.0
PART = slice(0, 192)  # of each side, in packed pixels
ENLARGED = 2


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    network: Any = load_model(options.weights, "exposurediffusion")
    development = draw_development(np.random.default_rng([0, 0]))  # as made_cases draws it for its first picture
    rows = []
    for case in made_cases([SAMPLE], get_camera("SonyA7S2"), NoiseModel.parse("P+G+r+u"), RATIOS, ISO):
        low = torch.from_numpy(case.low)[None]
        steps = expose(network.predict, network.config, low, case.ratio, case.gain, 2, draw=position_draw(0))
        results = [step.corrected[0].numpy() for step in steps]
        panels = [
            process(packed, development)[PART, PART] for packed in (case.low, results[0], results[2], case.target)
        ]
        rows.append(np.concatenate(panels, axis=1))
    picture = np.concatenate(rows).repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    path = options.folder / "exposurediffusion-ratios.jpg"
    write_picture(Picture(np.rint(picture * 255).astype(np.uint8)), path, quality=80)
    print(path)


if __name__ == "__main__":
    main()
