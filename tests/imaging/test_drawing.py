"""Boxes with names, and sizes from headers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tapetum.errors import InputError
from tapetum.imaging.drawing import draw_box
from tapetum.imaging.header import picture_size


def test_a_frame_and_nothing_else():
    pixels = np.full((60, 80, 3), 9, np.uint8)
    draw_box(pixels, (10, 20, 40, 50), (255, 0, 0))
    red = (pixels == (255, 0, 0)).all(axis=2)
    expected = np.zeros((60, 80), bool)
    expected[20:50, 10:40] = True
    expected[22:48, 12:38] = False
    np.testing.assert_array_equal(red, expected)
    assert (pixels[~red] == 9).all()


@pytest.mark.parametrize("top", [2, 30])
def test_a_text_lies_above_or_inside(top):
    pixels = np.zeros((80, 200, 3), np.uint8)
    draw_box(pixels, (5, top, 195, 79), (255, 0, 0), "Cup 0.5 é")
    place = pixels[top - 20 : top, 5:100] if top >= 20 else pixels[top : top + 20, 5:100]
    assert (place == (255, 0, 0)).all(axis=2).mean() > 0.5
    assert (place > 200).all(axis=2).any()  # white letters


def test_boxes_at_the_borders():
    pixels = np.zeros((10, 12, 3), np.uint8)
    draw_box(pixels, (-5, -5, 50, 50), (0, 255, 0), "everything is larger than this")
    draw_box(pixels, (11.6, 3, 11.9, 3), (0, 0, 255), "x")
    assert pixels[0, 0, 1] == 255


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "gif"])
def test_size_from_the_header(tmp_path, kind):
    path = tmp_path / f"a[1].{kind}"
    Image.new("RGB", (37, 21), (9, 9, 9)).save(path)
    assert picture_size(path) == (37, 21)


def test_no_size(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: cannot be read: no such file"):
        picture_size(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match=r"text\.png: not a picture that can be read"):
        picture_size(tmp_path / "text.png")
