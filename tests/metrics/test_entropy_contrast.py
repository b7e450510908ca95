"""Entropy against scikit-image's, contrast against what it is for simple pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import shannon_entropy

from tapetum.metrics import contrast_rms_gray601, entropy_gray601_uint8, get

images = st.builds(
    lambda seed, levels: np.random.default_rng(seed).integers(0, levels, (17, 11, 3)).astype(np.uint8),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 3, 256]),
)


@given(images)
def test_entropy_is_that_of_scikit_image(image):
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    grey = ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)
    assert entropy_gray601_uint8(image) == pytest.approx(shannon_entropy(grey, base=2), abs=1e-9)
    assert entropy_gray601_uint8(image / 255) == entropy_gray601_uint8(image)


def test_entropy_of_all_levels_alike_is_eight_bits():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert entropy_gray601_uint8(levels) == 8
    assert str(entropy_gray601_uint8(levels * 0)) == "0.0", "not -0.0"


def test_entropy_of_halves():
    """A sum that ends in a half belongs to the next level, whatever the order in which it is added up."""
    every = ((r, g, b) for r in range(90, 256) for g in range(90, 256) for b in range(90, 256))
    half = next((r, g, b) for r, g, b in every if (299 * r + 587 * g + 114 * b) % 1000 == 500)
    level = (np.dot(half, [299, 587, 114]) + 500) // 1000
    pixels = np.array([half, [level] * 3], np.uint8).reshape(1, 2, 3)
    assert entropy_gray601_uint8(pixels) == 0


def test_contrast():
    image = np.zeros((4, 6, 3), np.uint8)
    assert contrast_rms_gray601(image) == 0
    image[:, :3] = 255
    assert contrast_rms_gray601(image) == pytest.approx(0.5)
    assert contrast_rms_gray601(image / 255) == pytest.approx(0.5)
    image[..., 1:] = 0  # red and black
    assert contrast_rms_gray601(image) == pytest.approx(0.299 / 2)


@pytest.mark.parametrize("name", ["entropy_gray601_uint8", "contrast_rms_gray601"])
def test_say_how_a_picture_is_and_not_how_good(name):
    assert get(name).better == "neither"
    assert get(name).against == "nothing"
