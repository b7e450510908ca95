"""Against scikit-image, an independent implementation, and against numbers that follow from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tapetum import metrics
from tapetum.errors import UsageError
from tapetum.metrics.pictures import as_uint8, luma


def pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.random((height, width, 3), np.float32)
    return (target + rng.normal(0, 0.1, target.shape)).astype(np.float32), target


@settings(max_examples=20)
@given(height=st.integers(11, 60), width=st.integers(11, 60), seed=st.integers(0, 1000))
def test_agree_with_scikit_image(height: int, width: int, seed: int) -> None:
    enhanced, target = pair(height, width, seed)
    a, b = as_uint8(enhanced), as_uint8(target)
    ssim = structural_similarity(
        b, a, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim_gaussian_valid_uint8(enhanced, target) == pytest.approx(ssim, abs=1e-6)
    assert metrics.psnr_rgb_uint8(enhanced, target) == pytest.approx(
        peak_signal_noise_ratio(b, a, data_range=255), abs=1e-6
    )
    clamped = np.clip(enhanced, 0, 1)
    assert metrics.psnr_float_validation(enhanced, target) == pytest.approx(
        peak_signal_noise_ratio(target.astype(np.float64), clamped.astype(np.float64), data_range=1), abs=1e-6
    )
    assert metrics.psnr_float(enhanced, target) == pytest.approx(
        peak_signal_noise_ratio(target, clamped, data_range=1), abs=1e-4
    )


def test_ssim_of_luma_where_the_window_fits() -> None:
    enhanced, target = pair(33, 41)
    a, b = luma(as_uint8(enhanced)), luma(as_uint8(target))
    expected = structural_similarity(
        b, a, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim_y_valid_uint8(enhanced, target) == pytest.approx(expected, abs=1e-9)
    assert metrics.ssim_y_uint8(enhanced, target) != pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="at least 11 x 11, got 10 x 41"):
        metrics.ssim_y_valid_uint8(enhanced[:10], target[:10])


def test_height_beyond_one_strip_changes_nothing() -> None:
    enhanced, target = pair(205, 40)
    a, b = as_uint8(enhanced), as_uint8(target)
    expected = structural_similarity(
        b, a, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim_gaussian_valid_uint8(a, b) == pytest.approx(expected, abs=1e-9)


def test_known_values() -> None:
    target = np.full((12, 12, 3), 100, np.uint8)
    off_by_one = target + np.uint8(1)
    assert metrics.psnr_rgb_uint8(off_by_one, target) == pytest.approx(20 * math.log10(255))
    # a step of one level on all channels is a step of (24.966 + 128.553 + 65.481) / 255 in Y
    assert metrics.psnr_y_uint8(off_by_one, target) == pytest.approx(20 * math.log10(255 / (219 / 255)))
    assert metrics.mae(off_by_one, target) == pytest.approx(1 / 255)


MEASURES = [metrics.get(name) for name in metrics.names()]
# without the networks, which are not installed everywhere (tests/metrics/test_perceptual.py)
COMPARING = [measure.name for measure in MEASURES if measure.needs_target and measure.prepare is None]


@pytest.mark.parametrize("name", COMPARING)
def test_equal_pictures(name: str) -> None:
    image = pair(20, 16)[1]
    best = math.inf if name.startswith("psnr") else 1 if metrics.get(name).better == "higher" else 0
    best = 100 if name == "psnr_float" else best
    assert metrics.get(name)(image, image) == pytest.approx(best)


@pytest.mark.parametrize("name", COMPARING)
def test_worse_pictures_score_worse(name: str) -> None:
    enhanced, target = pair(24, 24)
    measure = metrics.get(name)
    worse, better = measure(enhanced, target), measure((enhanced + 3 * target) / 4, target)
    assert (better > worse) == (measure.better == "higher")


CROPPING = [
    *("psnr_rgb_uint8", "psnr_y_uint8", "psnr_float_validation"),
    *("ssim_y_uint8", "ssim_y_valid_uint8", "ssim_3d_uint8"),
]


@pytest.mark.parametrize("border", [13, 15, 40, -1])
@pytest.mark.parametrize("name", CROPPING)
def test_a_border_that_leaves_nothing_is_refused(name: str, border: int) -> None:
    text = f"crop_border must be from 0 to less than half of 30 x 26 pixels, got {border}"
    with pytest.raises(ValueError, match=text):
        getattr(metrics, name)(*pair(30, 26), crop_border=border)


@pytest.mark.parametrize("name", CROPPING)
def test_crop_border_is_cutting_first(name: str) -> None:
    enhanced, target = pair(30, 26)
    function = getattr(metrics, name)
    assert function(enhanced, target, crop_border=4) == pytest.approx(
        function(enhanced[4:-4, 4:-4], target[4:-4, 4:-4])
    )


def test_rounding_is_half_to_even_and_clamped() -> None:
    values = np.array([-0.2, 0.5 / 255, 1.5 / 255, 2.5 / 255, 1.7])
    assert as_uint8(values).tolist() == [0, 0, 2, 2, 255]


def test_halves_are_rounded_as_the_numbers_that_they_are() -> None:
    """Times 255 in 11 bits, some would come to lie halfway between two levels."""
    halves = np.arange(0, 1 + 2**-11, 2**-11).astype(np.float16)
    assert np.array_equal(as_uint8(halves), as_uint8(halves.astype(np.float64)))


def test_inputs_are_not_changed() -> None:
    enhanced, target = pair(16, 16)
    before = enhanced.copy(), target.copy()
    for measure in MEASURES:
        if measure.prepare is None:
            measure(enhanced, target, target)
    assert np.array_equal(enhanced, before[0])
    assert np.array_equal(target, before[1])


def test_refusals() -> None:
    enhanced, target = pair(16, 16)
    with pytest.raises(ValueError, match=r"differ in size: \(16, 16, 3\) and \(15, 16, 3\)"):
        metrics.psnr_rgb_uint8(enhanced, target[1:])
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        metrics.mae(enhanced[..., 0], target[..., 0])
    with pytest.raises(ValueError, match="uint16"):
        metrics.mae(enhanced.astype(np.uint16), target)
    with pytest.raises(ValueError, match="at least 11 x 11, got 10 x 16"):
        metrics.ssim_gaussian_valid_uint8(enhanced[:10], target[:10])
    with pytest.raises(UsageError, match="unknown metric 'psnr', perhaps psnr_rgb_uint8 or "):
        metrics.get("psnr")
    with pytest.raises(UsageError, match="unknown correction 'x': choose from gt_mean_gray601_rgb"):
        metrics.correction("x")
