"""UIQM against cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.metrics import uiqm_plain
from tapetum.metrics.uiqm import uicm, uiconm, uism


def test_a_flat_grey_picture_has_nothing():
    assert uiqm_plain(np.full((25, 30, 3), 90, np.uint8)) == 0


def test_colourfulness_of_one_colour():
    """R - G = 50, (R + G) / 2 - B = 75 - 20 = 55, no deviation."""
    image = np.broadcast_to(np.array([100.0, 50.0, 20.0]), (10, 10, 3))
    assert uicm(image) == pytest.approx(-0.0268 * math.hypot(50, 55), abs=1e-12)


def test_colourfulness_trims_the_mean_but_not_the_deviation():
    """Of 11 pixels the lowest 2 (rounded up) and the highest 1 (rounded down) are left out of the mean."""
    image = np.zeros((1, 11, 3))
    image[0, :, 0] = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 200]  # R - G
    image[0, :, 2] = image[0, :, 0] / 2  # (R + G) / 2 - B = 0
    mean = (20 + 30 + 40 + 50 + 60 + 70 + 80 + 90) / 8  # 55
    squares = [(x - mean) ** 2 for x in image[0, :, 0]]
    assert uicm(image) == pytest.approx(-0.0268 * 55 + 0.1586 * math.sqrt(sum(squares) / 11), abs=1e-12)


def test_sharpness_of_a_slope():
    """The red channel is 10 + x: its Sobel magnitude is 8 inside, 4 at both sides where the edge is repeated. Blocks of
    ten columns: the products run from 4 * 10 to 8 * 19 and from 8 * 20 to 8 * 28, with 4 * 29 = 116 at the end."""
    image = np.zeros((10, 20, 3))
    image[..., 0] = 10 + np.arange(20)
    eme = (2 * math.log(152 / 40) + 2 * math.log(224 / 116)) / 2
    assert uism(image) == pytest.approx(0.299 * eme, abs=1e-12)
    assert uism(image[..., [1, 0, 2]]) == pytest.approx(0.587 * eme, abs=1e-12)
    assert uism(image.transpose(1, 0, 2)[..., [1, 2, 0]]) == pytest.approx(0.114 * eme, abs=1e-12)


def test_a_block_with_a_flat_spot_has_no_sharpness():
    image = np.full((10, 10, 3), 50.0)
    image[0, 0] = 200
    assert uism(image) == 0


def test_contrast_of_two_blocks():
    """One with 20 and 60, t = 1 / 2; one that is flat, t = 0; what is left over at the right and below is left out."""
    image = np.full((13, 27, 3), 255.0)
    image[:10, :20] = 20
    image[:5, :10] = 60
    assert uiconm(image) == pytest.approx(0.5 * math.log(2) / 2, abs=1e-12)
    image[:10, :20] = 0
    image[:5, :10] = 60
    assert uiconm(image) == 0  # t = 1


def test_the_sum():
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (31, 24, 3)).astype(np.uint8)
    values = image.astype(float)
    expected = 0.0282 * uicm(values) + 0.2953 * uism(values) + 3.5753 * uiconm(values)
    assert uiqm_plain(image) == pytest.approx(expected, abs=1e-12)
    assert uiqm_plain(image / np.float64(255)) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_flips_change_nothing_where_blocks_fit(seed):
    image = np.random.default_rng(seed).integers(0, 256, (20, 10, 3)).astype(np.uint8)
    for flipped in (image[::-1], image[:, ::-1], image.transpose(1, 0, 2)):
        assert uiqm_plain(flipped) == pytest.approx(uiqm_plain(image), abs=1e-9)


def test_too_small():
    with pytest.raises(ValueError, match="UIQM needs pictures of at least 10 x 10, got 9 x 40"):
        uiqm_plain(np.zeros((9, 40, 3), np.uint8))
