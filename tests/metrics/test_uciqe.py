"""UCIQE against cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.metrics import get, uciqe_lab100
from tapetum.metrics.uciqe import lab_of

# L, a, b of the corners of sRGB, as every table of colours has them
LAB = {
    (255, 255, 255): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (255, 0, 0): (53.2408, 80.0925, 67.2032),
    (0, 255, 0): (87.7347, -86.1827, 83.1793),
    (0, 0, 255): (32.2970, 79.1875, -107.8602),
}


def flat(*colours: tuple[int, int, int], rows: int = 10) -> np.ndarray:
    """Bands of equal size, one after the other."""
    return np.repeat(np.array(colours, np.uint8), rows, axis=0)[:, None].repeat(12, axis=1)


@pytest.mark.parametrize("colour", LAB)
def test_lab(colour):
    assert lab_of(flat(colour))[0, 0] == pytest.approx(LAB[colour], abs=0.02)


def test_half_black_half_white_is_contrast_alone():
    assert uciqe_lab100(flat((0, 0, 0), (255, 255, 255))) == pytest.approx(0.2745, abs=1e-9)


def test_one_colour_is_saturation_alone():
    lightness, chroma = 53.2408, math.hypot(80.0925, 67.2032)
    expected = 0.2576 * chroma / math.hypot(chroma, lightness)  # 0.2295
    assert uciqe_lab100(flat((255, 0, 0))) == pytest.approx(expected, abs=1e-5)


def test_two_colours_by_hand():
    (l_red, *red), (l_blue, *blue) = LAB[255, 0, 0], LAB[0, 0, 255]
    c_red, c_blue = math.hypot(*red) / 100, math.hypot(*blue) / 100
    saturation = (c_red / math.hypot(c_red, l_red / 100) + c_blue / math.hypot(c_blue, l_blue / 100)) / 2
    # of two equal halves the population's deviation is half the distance
    expected = 0.4680 * abs(c_red - c_blue) / 2 + 0.2745 * (l_red - l_blue) / 100 + 0.2576 * saturation
    assert uciqe_lab100(flat((255, 0, 0), (0, 0, 255))) == pytest.approx(expected, abs=1e-5)


def test_contrast_takes_the_means_of_the_extreme_hundredths():
    image = np.full((20, 20, 3), 119, np.uint8)  # 400 pixels: a hundredth is 4
    image[0, :4] = [[255] * 3, [255] * 3, [0] * 3, [0] * 3]
    middle = lab_of(np.full((1, 1, 3), 119, np.uint8))[0, 0, 0] / 100
    bright, dark = (2 + 2 * middle) / 4, (0 + 0 + 2 * middle) / 4
    assert uciqe_lab100(image) == pytest.approx(0.2745 * (bright - dark), abs=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_pixels_in_any_order_and_floats(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    mixed = rng.permutation(image.reshape(-1, 3)).reshape(9, 7, 3)
    value = uciqe_lab100(image)
    assert uciqe_lab100(mixed) == pytest.approx(value, abs=1e-12)
    assert uciqe_lab100(image / 255) == value


def test_needs_no_target():
    measure = get("uciqe_lab100")
    image = flat((255, 0, 0), (0, 0, 255))
    assert measure(image) == measure(image, image[:1]) == uciqe_lab100(image)
    with pytest.raises(ValueError, match="psnr_float compares with a target picture, and there is none"):
        get("psnr_float")(image)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 1)])
def test_no_picture(shape):
    with pytest.raises(ValueError, match=r"enhanced must be \(H, W, 3\)"):
        uciqe_lab100(np.zeros(shape, np.uint8))
