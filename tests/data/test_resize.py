"""Bicubic resampling as OpenCV has it. (The bilinear one is tested with the arrays that it makes.)"""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.data.resize import longest, resize_bicubic, resized, scaled, square

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("size", [(16, 16), (9, 31), (40, 12), (1, 1), (13, 17)])
def test_bicubic_is_that_of_torch(size):
    image = np.random.default_rng(0).random((13, 17, 3), np.float32)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(planes, size, mode="bicubic", align_corners=False)
    result = resize_bicubic(image, size[1], size[0])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected[0].permute(1, 2, 0).numpy(), atol=1e-5)


def test_bicubic_overshoots():
    step = np.zeros((4, 8, 3), np.float32)
    step[:, 4:] = 1
    result = resize_bicubic(step, 16, 4)
    assert result.min() < -0.01
    assert result.max() > 1.01


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 3), np.uint8)])
def test_bicubic_takes_floats(image):
    with pytest.raises(ValueError, match=r"need \(H, W, C\) float32"):
        resize_bicubic(image, 2, 2)


@pytest.mark.parametrize(
    ("sized", "size", "expected"),
    [
        (square(12), (5, 40), (12, 12)),
        (longest(20), (20, 7), (20, 7)),
        (longest(20), (30, 7), (20, 4)),
        (longest(20), (3, 100), (1, 20)),
        (scaled(0.5), (401, 96), (200, 48)),  # 200.5 is cut to 200, which is a multiple of 8
        (scaled(0.7), (23, 20), (16, 16)),
        (scaled(0.1), (20, 20), (8, 8)),
    ],
)
def test_sizes(sized, size, expected):
    image = np.zeros((*size, 3), np.float32)
    result = resized(image, sized)
    assert result.shape[:2] == sized(*size) == expected
    assert (result is image) == (size == expected)
