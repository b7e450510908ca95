"""Shows what the two stages of a trained Reti-Diff know: figures of stage 1, whose priors see the target, beside those
of stage 2, whose priors are sampled, and a picture of these priors.

    python scripts/draw_retidiff.py STAGE1.safetensors STAGE2.safetensors DATA FOLDER

DATA is a folder of pairs with its splits (LOL v1). Printed: means over each split in the strict protocol, plain and
after GT-mean. ``retidiff-priors.jpg``: one row for each picture of the first split, one column for each number of the
Retinex prior (left) and the RGB prior (right); above those of stage 1, below those that stage 2 samples, on the same
scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.data.layouts import read_picture_file
from tapetum.data.pairs import Pair
from tapetum.evaluation.pairs import find_splits
from tapetum.evaluation.protocols import get_protocol, pad_bottom_right
from tapetum.evaluation.report import summarise
from tapetum.evaluation.run import measure_pairs
from tapetum.imaging import Picture, write_picture
from tapetum.methods.retidiff.network import RetiDiff
from tapetum.methods.retidiff.stage1 import Stage1
from tapetum.weights.loading import load_model

CORRECTION = "gt_mean_gray601_rgb"
ENLARGED, GAP = 8, 4


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage1", type=Path)
    parser.add_argument("stage2", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    first: Any = load_model(options.stage1, "retidiff_stage1")
    second: Any = load_model(options.stage2, "retidiff")
    splits = find_splits(options.data, None)
    rows = []
    for split, pairs in splits.items():
        for name, predict in (("stage 1", with_target(first)), ("stage 2", without(second))):
            rows += measure_pairs(
                name, split, pairs, predict, get_protocol("strict"), read_picture_file, CORRECTION, timed=False
            )
    for summary in summarise(rows):
        figures = (f"{measure} {summary.means[measure].text(3)}" for measure in summary.means)
        print(f"{summary.model}, {summary.split} ({summary.pictures}): {', '.join(figures)}")
    path = options.folder / "retidiff-priors.jpg"
    write_picture(Picture(drawing(first, second, next(iter(splits.values())))), path, quality=90)
    print(path)


def tensor(image: NDArray[np.generic]) -> Tensor:
    """``(H, W, 3)`` in [0, 1] as a batch with sides that are multiples of 8."""
    return torch.from_numpy(pad_bottom_right(np.asarray(image, np.float32).transpose(2, 0, 1)[None], 8))


def with_target(network: Stage1) -> Any:
    def predict(pair: Pair, low: NDArray[np.float32]) -> NDArray[np.float32]:
        target = tensor(read_picture_file(pair.target))
        return image(network(tensor(low), target=target), low)

    return predict


def without(network: RetiDiff) -> Any:
    return lambda pair, low: image(network(tensor(low)), low)


def image(batch: Tensor, low: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = low.shape[:2]
    return batch[0, :, :height, :width].clamp(0, 1).permute(1, 2, 0).numpy()


def drawing(first: Stage1, second: RetiDiff, pairs: list[Pair]) -> NDArray[np.uint8]:
    """Blue: negative, red: positive, white: 0."""
    known, sampled = [], []
    for pair in pairs:
        low, target = (tensor(read_picture_file(path)) for path in (pair.low, pair.target))
        known.append(torch.cat(first.priors(low, target, *first.maps(low, target)), dim=1))
        sampled.append(torch.cat(second.sampled(low, second.maps(low)), dim=1))
    both = [torch.cat(priors).numpy() for priors in (known, sampled)]
    scale = np.percentile(np.abs(both[0]), 99)
    panels = []
    for values in both:
        signed = np.clip(values / scale, -1, 1)[..., None]
        colours = 1 - np.abs(signed) * np.where(signed > 0, [0.1, 0.8, 0.8], [0.8, 0.6, 0.1])
        half = colours.shape[1] // 2
        parts = (colours[:, :half], np.ones((len(colours), GAP, 3)), colours[:, half:])
        panels.append(np.concatenate(parts, axis=1))
    whole = np.concatenate([panels[0], np.ones((1, *panels[0].shape[1:])), panels[1]])
    return np.rint(255 * whole.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)).astype(np.uint8)


if __name__ == "__main__":
    main()
