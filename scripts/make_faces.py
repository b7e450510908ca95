"""Faces in the dark, by scikit-image's trained cascade: the table and the picture of docs/detection.md.

The astronaut (NASA, public domain) is darkened by our own synthesis with the noise of a telephone, several nights for
each exposure, and enhanced with the bundled model. Writes docs/images/faces.jpg and prints the table.
"""

from pathlib import Path

import numpy as np
from skimage import data, feature

from tapetum import Enhancer
from tapetum.data.synthesis import LINEAR_OF_BYTE, Darkening, Noise, add_noise, darken, to_srgb_bytes
from tapetum.evaluation.detection.boxes import overlaps
from tapetum.imaging import write_picture
from tapetum.imaging.comparison import side_by_side
from tapetum.imaging.drawing import draw_box

FACE = np.asarray([[172, 70, 276, 190]], np.float32)  # by eye: left, top, right, bottom
NIGHTS = 20
STOPS = (5, 6, 7, 8, 9)
SHOWN = 8
OUT = Path(__file__).parents[1] / "docs" / "images" / "faces.jpg"

cascade = feature.Cascade(data.lbp_frontal_face_cascade_filename())
astronaut = data.astronaut()
enhancer = Enhancer()


def find(image: np.ndarray) -> np.ndarray:
    found = cascade.detect_multi_scale(image, scale_factor=1.2, step_ratio=1.2, min_size=(60, 60), max_size=(160, 160))
    rows = [(f["c"], f["r"], f["c"] + f["width"], f["r"] + f["height"]) for f in found]
    return np.asarray(rows, np.float32).reshape(-1, 4)


def seen(boxes: np.ndarray) -> bool:
    return bool((overlaps(FACE, boxes) > 0.5).any())


def drawn(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    image = image.copy()
    for box in boxes:
        draw_box(image, box.tolist(), (0, 255, 120), "face")
    return image


print("| stops too dark | found dark | found enhanced |\n|---|---|---|")
shown = False
for stops in STOPS:
    counts = [0, 0]
    for night in range(NIGHTS):
        random = np.random.default_rng(night)
        linear = add_noise(darken(LINEAR_OF_BYTE[astronaut], Darkening(stops)), Noise(shot=1e-3, read=2e-3), random)
        dark = to_srgb_bytes(linear)
        pictures = [dark, enhancer(dark)]
        boxes = [find(picture) for picture in pictures]
        counts = [count + seen(each) for count, each in zip(counts, boxes, strict=True)]
        if stops == SHOWN and not shown and seen(boxes[1]) and not seen(boxes[0]):
            panels = [drawn(picture, each) for picture, each in zip(pictures, boxes, strict=True)]
            write_picture(side_by_side(dict(zip(("before", "after"), panels, strict=True))), OUT, quality=85)
            shown = True
    print(f"| {stops} | {counts[0]} of {NIGHTS} | {counts[1]} of {NIGHTS} |")
