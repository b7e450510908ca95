from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.data.arrays import load_array, prepare_array
from tapetum.data.resize import resize_bilinear
from tapetum.errors import InputError

sizes = st.integers(1, 24)


@given(height=sizes, width=sizes, new_height=sizes, new_width=sizes)
def test_against_a_slow_resize(height: int, width: int, new_height: int, new_width: int) -> None:
    """Every output pixel by itself, in exact arithmetic; 8 bit within the level that the shifts cut off."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    expected = np.empty((new_height, new_width, 3))
    for y in range(new_height):
        v = (y + 0.5) * height / new_height - 0.5
        for x in range(new_width):
            u = (x + 0.5) * width / new_width - 0.5
            i, j = int(np.floor(v)), int(np.floor(u))
            rows, columns = np.clip([i, i + 1], 0, height - 1), np.clip([j, j + 1], 0, width - 1)
            square = image[np.ix_(rows, columns)].astype(float)
            across = square[:, 0] * (1 - (u - j)) + square[:, 1] * (u - j)
            expected[y, x] = across[0] * (1 - (v - i)) + across[1] * (v - i)
    ours = resize_bilinear(image.astype(np.float32), new_width, new_height)
    np.testing.assert_allclose(ours, expected, atol=1e-3)
    eight_bit = resize_bilinear(image, new_width, new_height)
    assert eight_bit.dtype == np.uint8
    assert np.abs(eight_bit - expected).max() < 1.3


def test_fixed_point_by_hand() -> None:
    # one row, two pixels to three: positions 1/6, 1/2, 5/6 of the way are -1/6 (clipped), 1/2, 7/6 (clipped)
    row = np.array([[[10, 10, 10], [21, 21, 21]]], np.uint8)
    assert resize_bilinear(row, 3, 1)[0, :, 0].tolist() == [10, 16, 21]
    # p = q = 1024: r = 1024 * 31 = 31744, r >> 4 = 1984; (2048 * 1984) >> 16 = 62; (62 + 2) >> 2 = 16


def test_same_size_is_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    assert np.array_equal(resize_bilinear(image, 5, 7), image)


def test_bgr_becomes_rgb_after_the_resize() -> None:
    array = np.zeros((4, 6, 3), np.uint8)
    array[..., 0] = 255  # blue
    image = prepare_array(array, 3, 2)
    assert image.shape == (2, 3, 3)
    assert image.dtype == np.float32
    assert image[0, 0].tolist() == [0, 0, 1]


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "0001.npy", np.full((5, 7, 3), 51, np.uint8))
    image = load_array(tmp_path / "0001.npy")
    assert image.shape == (512, 960, 3)
    np.testing.assert_allclose(image, 0.2)


@pytest.mark.parametrize("content", ["missing", "text", "grey", "pickle"])
def test_bad_files(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.npy"
    if content == "text":
        file.write_text("no array")
    elif content == "grey":
        np.save(file, np.zeros((5, 7), np.uint8))
    elif content == "pickle":
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy: (not a readable|need an array)") as caught:
        load_array(file)
    assert "\n" not in str(caught.value)


def test_more_and_fewer_channels() -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    assert np.array_equal(prepare_array(array, 4, 3), prepare_array(array[..., :3], 4, 3))
    grey = prepare_array(array[..., 0], 4, 3)
    assert grey.shape == (3, 4, 1)
    assert np.array_equal(grey, prepare_array(array[..., :1], 4, 3))
    with pytest.raises(ValueError, match="need an array"):
        prepare_array(array[..., :2], 4, 3)
