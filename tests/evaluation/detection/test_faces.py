"""A trained detector on a real photograph: scikit-image's cascade for faces, by day, by night and enhanced."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum import Enhancer
from tapetum.data.synthesis import LINEAR_OF_BYTE, Darkening, Noise, add_noise, darken, to_srgb_bytes
from tapetum.evaluation.detection.boxes import overlaps

skimage_data = pytest.importorskip("skimage.data")
feature = pytest.importorskip("skimage.feature")

FACE = np.asarray([[172, 70, 276, 190]], np.float32)  # of the astronaut, by eye: left, top, right, bottom
NIGHTS = range(6)
TELEPHONE = Noise(shot=1e-3, read=2e-3)


@pytest.fixture(scope="module")
def find():
    """Faces in a picture ``(H, W, 3)``: corners ``(K, 4)``."""
    cascade = feature.Cascade(skimage_data.lbp_frontal_face_cascade_filename())

    def detect(image: np.ndarray) -> np.ndarray:
        found = cascade.detect_multi_scale(
            image, scale_factor=1.2, step_ratio=1.2, min_size=(60, 60), max_size=(160, 160)
        )
        rows = [(f["c"], f["r"], f["c"] + f["width"], f["r"] + f["height"]) for f in found]
        return np.asarray(rows, np.float32).reshape(-1, 4)

    return detect


@pytest.fixture(scope="module")
def counted(find, model):
    """Of ``NIGHTS`` pictures that are so many stops too dark, those in which the face is found."""
    astronaut = skimage_data.astronaut()
    enhancer = Enhancer(model)

    def count(stops: float) -> dict[str, int]:
        counts = {"lit": 0, "dark": 0, "enhanced": 0}
        for night in NIGHTS:
            linear = darken(LINEAR_OF_BYTE[astronaut], Darkening(stops))
            dark = to_srgb_bytes(add_noise(linear, TELEPHONE, np.random.default_rng(night)))
            for name, image in (("lit", astronaut), ("dark", dark), ("enhanced", enhancer(dark))):
                counts[name] += int((overlaps(FACE, find(image)) > 0.5).any())
        return counts

    return count


def test_faces_in_the_dark(counted, model, record_property):
    """Eight stops too dark the noise hides the face from the detector; enhanced, it is found again."""
    counts = counted(8)
    record_property("note", f"faces found in {len(NIGHTS)} pictures, 8 stops too dark: {counts}")
    assert counts["lit"] == len(NIGHTS)
    if model != "default":
        pytest.skip("the package carries no default model")
    assert counts["dark"] < counts["enhanced"]


def test_faces_at_dusk(counted, record_property):
    """Local binary patterns do not mind the light: five stops too dark all are found; enhancing loses one at most."""
    counts = counted(5)
    record_property("note", f"faces found in {len(NIGHTS)} pictures, 5 stops too dark: {counts}")
    assert counts["dark"] == len(NIGHTS)
    assert counts["enhanced"] >= len(NIGHTS) - 1
