"""The hue shift: zero where only lightness differs, the angle where colours turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab

from tapetum.metrics import hue_shift_lab


def turned(angle: float, lightness: float = 60.0) -> np.ndarray:
    """Colours of all hues, turned."""
    hues = np.radians(np.arange(0, 360, 10) + angle)
    lab = np.stack([np.full_like(hues, lightness), 25 * np.cos(hues), 25 * np.sin(hues)], axis=-1)
    return lab2rgb(lab[None])


@pytest.mark.parametrize("angle", [5, 30, 90, 180, -45, 270])
def test_it_is_the_angle(angle: float) -> None:
    expected = min(angle % 360, -angle % 360)
    assert hue_shift_lab(turned(angle), turned(0)) == pytest.approx(expected, abs=0.7)  # 8 bit


def test_lightness_is_no_hue() -> None:
    assert hue_shift_lab(turned(0, 40.0), turned(0, 70.0)) < 1


def test_grey_has_none() -> None:
    grey = np.full((4, 4, 3), 0.5)
    assert hue_shift_lab(grey, grey) == 0
    assert hue_shift_lab(grey, np.random.default_rng(0).random((4, 4, 3))) == 0


@pytest.mark.parametrize("level", [3, 40, 118, 254])
def test_grey_of_every_level_has_none(level: int) -> None:
    """Their chroma is that of rounding errors, and so would be their hues."""
    pixels = np.repeat(np.random.default_rng(level).integers(0, 256, (8, 8, 1)), 3, axis=2).astype(np.uint8)
    even = np.full((8, 8, 3), level, np.uint8)
    assert hue_shift_lab(pixels, even) == hue_shift_lab(even, pixels) == hue_shift_lab(pixels[::-1], pixels) == 0
    assert hue_shift_lab(even, turned(0)[:, :1].repeat(8, 0).repeat(8, 1)) == 0


def test_the_least_of_colours_counts() -> None:
    levels = np.array([[[40, 40, 41]]], np.uint8), np.array([[[41, 40, 40]]], np.uint8)
    assert hue_shift_lab(*levels) > 80


def test_against_the_formula_over_scikit_image() -> None:
    """Weighted mean of angles, with Lab of another library (whose white differs a little)."""
    first, second = (np.random.default_rng(seed).integers(0, 256, (20, 30, 3)).astype(np.uint8) for seed in (0, 1))
    one, two = (rgb2lab(image)[..., 1:] @ [1, 1j] for image in (first, second))
    turn, weight = np.abs(np.degrees(np.angle(one * two.conj()))), np.sqrt(np.abs(one) * np.abs(two))
    assert hue_shift_lab(first, second) == pytest.approx((turn * weight).sum() / weight.sum(), rel=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_symmetric_and_within_bounds(seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 256, (2, 3, 5, 3)).astype(np.uint8)
    assert 0 <= hue_shift_lab(a, b) <= 180
    assert hue_shift_lab(a, b) == pytest.approx(hue_shift_lab(b, a))
    assert hue_shift_lab(a, a) == pytest.approx(0, abs=1e-5)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"size|shape"):
        hue_shift_lab(np.zeros((2, 2, 3)), np.zeros((2, 3, 3)))
