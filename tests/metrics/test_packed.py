"""PSNR and SSIM of packed RAW pictures, against scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.metrics.packed import psnr_packed, ssim_packed


def pair(height: int = 23, width: int = 31) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = rng.random((4, height, width), dtype=np.float32)
    return target + rng.normal(0, 0.1, target.shape).astype(np.float32), target


def test_psnr_is_of_the_clipped_picture() -> None:
    enhanced, target = pair()
    error = np.mean((np.clip(enhanced, 0, 1).astype(float) - target) ** 2)
    assert psnr_packed(enhanced, target) == pytest.approx(-10 * np.log10(error), abs=1e-6)
    assert psnr_packed(target, target) == float("inf")


@pytest.mark.parametrize("size", [(7, 7), (23, 31)])
def test_ssim_is_that_of_scikit_image(size: tuple[int, int]) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    enhanced, target = pair(*size)
    a, b = (np.clip(x.astype(np.float64) * 255, 0, 255) for x in (enhanced, target))
    expected = metrics.structural_similarity(a, b, channel_axis=0, data_range=255)
    assert ssim_packed(enhanced, target) == pytest.approx(expected, abs=1e-9)


def test_what_cannot_be_compared() -> None:
    enhanced, target = pair()
    with pytest.raises(ValueError, match="of one shape"):
        psnr_packed(enhanced[:, 1:], target)
    with pytest.raises(ValueError, match="at least 7x7 pixels, got 6x31"):
        ssim_packed(enhanced[:, :6], target[:, :6])
