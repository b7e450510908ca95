"""Before and after side by side."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.imaging.comparison import side_by_side


def test_panels_lie_side_by_side(dark):
    result = side_by_side({"before": dark, "after": dark * 2}).pixels
    assert result.dtype == np.uint8
    assert result.shape == (48, 2 * 64 + 2, 3)
    assert np.array_equal(result[:20, :64], dark[:20])
    assert np.array_equal(result[:20, -64:], dark[:20] * 2)
    assert (result[:, 64:66] == 255).all()


def test_every_depth_and_grey(dark):
    same = {
        "before": dark[..., :1],
        "after": dark[..., :1].astype(np.uint16) * 257,
        "target": dark[..., :1].astype(np.float32) / 255,
    }
    result = side_by_side(same).pixels.astype(int)
    for left in (66, 132):
        assert abs(result[:20, left : left + 64] - result[:20, :64]).max() <= 1


def test_labels_are_drawn_where_there_is_room():
    black = np.zeros((200, 300, 3), np.uint8)
    result = side_by_side({"before": black, "after": black}).pixels
    assert (result[-40:, :100] > 200).any()
    assert not result[:150, :300].any()
    # letters are lighter than any picture, boxes darker
    white = np.full((200, 300, 3), 255, np.uint8)
    result = side_by_side({"before": white, "after": white}).pixels
    assert (result[-40:, :100] < 140).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (20, 20), (3000, 4000)])
def test_any_size_fits(shape):
    panel = np.full((*shape, 3), 90, np.uint8)
    result = side_by_side({"before": panel, "after": panel}, longest=500)
    assert max(result.height, result.width) <= 510
    assert abs(int(result.pixels[0, 0, 0]) - 90) <= 1
