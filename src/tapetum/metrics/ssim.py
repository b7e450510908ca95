"""Structural similarity (Wang et al., IEEE TIP 2004) in the conventions that the field's figures use.

All: 8-bit pictures, constants (0.01 * 255)^2 and (0.03 * 255)^2, float64; and, but for ``ssim_uniform7_uint8``, a
Gaussian window of 11 taps and sigma 1.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.metrics.pictures import Image, as_uint8, check, cut_border, luma

_RADIUS = 5
_UNIFORM = 7
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_STRIP = 48  # rows filtered together: their planes stay in the processor's cache
_TAPS = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / 1.5) ** 2)
_TAPS /= _TAPS.sum()


def ssim_gaussian_valid_uint8(enhanced: Image, target: Image) -> float:
    """Of the test script of Retinexformer and DED-Net, and scikit-image's with ``gaussian_weights``, sigma 1.5 and
    population covariance: per channel, only where the window fits; mean over positions, then R, G, B.

    Raises:
        ValueError: a side is shorter than the window (11).
    """
    check(enhanced, target)
    a, b = as_uint8(enhanced), as_uint8(target)
    _check_size(a)
    return float(np.mean([_mean_similarity(a[..., c], b[..., c]) for c in range(3)]))


def ssim_y_uint8(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """Of the unrounded Y, borders replicated, no cut (BasicSR's ``test_y_channel`` in the Retinexformer toolbox)."""
    check(enhanced, target)
    a, b = (luma(cut_border(as_uint8(image), crop_border)) for image in (enhanced, target))
    return _mean_similarity(np.pad(a, _RADIUS, mode="edge"), np.pad(b, _RADIUS, mode="edge"))


def ssim_y_valid_uint8(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """Of the unrounded Y, only where the window fits (BasicSR's ``test_y_channel``, as MambaLLIE's toolbox has it).

    Raises:
        ValueError: a side is shorter than the window (11).
    """
    check(enhanced, target)
    a, b = (luma(cut_border(as_uint8(image), crop_border)) for image in (enhanced, target))
    _check_size(a)
    return _mean_similarity(a, b)


def ssim_3d_uint8(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """One 11 x 11 x 11 Gaussian over rows, columns **and channels**, borders replicated (the toolbox's RGB SSIM)."""
    check(enhanced, target)
    a, b = (_padded(cut_border(as_uint8(image), crop_border)) for image in (enhanced, target))
    moments = [_across_channels(_filtered(plane)) for plane in (a, b, a * a + b * b, a * b)]
    return float(_similarity(*moments).mean())


def ssim_uniform7_uint8(enhanced: Image, target: Image) -> float:
    """scikit-image's default, of UPT-Flow's test script: a uniform window of 7 x 7 with sample covariance, per channel,
    only where the window fits; mean over positions and channels.

    Raises:
        ValueError: a side is shorter than the window (7).
    """
    check(enhanced, target)
    a, b = (as_uint8(image).astype(np.float64) for image in (enhanced, target))
    if min(a.shape[:2]) < _UNIFORM:
        raise ValueError(f"SSIM needs pictures of at least 7 x 7, got {a.shape[0]} x {a.shape[1]}")
    mean_a, mean_b, squares, product = (_means(plane) for plane in (a, b, a * a + b * b, a * b))
    sample = _UNIFORM**2 / (_UNIFORM**2 - 1)
    covariance, variances = product - mean_a * mean_b, squares - mean_a**2 - mean_b**2
    numerator = (2 * mean_a * mean_b + _C1) * (2 * sample * covariance + _C2)
    return float((numerator / ((mean_a**2 + mean_b**2 + _C1) * (sample * variances + _C2))).mean())


def _means(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(H, W, C) -> (H - 6, W - 6, C)``: means of 7 x 7, exact for whole numbers up to the division."""
    for axis in (0, 1):
        sums = np.cumsum(np.insert(planes, 0, 0, axis=axis), axis=axis)
        count = planes.shape[axis] - _UNIFORM + 1
        planes = sums.take(range(_UNIFORM, _UNIFORM + count), axis) - sums.take(range(count), axis)
    return planes / _UNIFORM**2


def _check_size(image: NDArray[np.generic]) -> None:
    if min(image.shape[:2]) < 2 * _RADIUS + 1:
        raise ValueError(f"SSIM needs pictures of at least 11 x 11, got {image.shape[0]} x {image.shape[1]}")


def _mean_similarity(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Of two planes ``(H, W)``, over the ``(H - 10, W - 10)`` positions where the window fits."""
    height = a.shape[0] - 2 * _RADIUS
    total = 0.0
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height) + 2 * _RADIUS)
        x, y = a[rows].astype(np.float64), b[rows].astype(np.float64)
        total += _similarity(*(_filtered(plane) for plane in (x, y, x * x + y * y, x * y))).sum()
    return float(total / (height * (a.shape[1] - 2 * _RADIUS)))


def _similarity(
    mean_a: NDArray[np.float64], mean_b: NDArray[np.float64], squares: NDArray[np.float64], product: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From filtered a, b, a^2 + b^2, a b: only the sum of the two variances is ever needed."""
    mean_squares, mean_product = mean_a * mean_a + mean_b * mean_b, mean_a * mean_b
    numerator = (2 * mean_product + _C1) * (2 * (product - mean_product) + _C2)
    return numerator / ((mean_squares + _C1) * (squares - mean_squares + _C2))


def _filtered(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(..., H, W) -> (..., H - 10, W - 10)``: the separable window, where it fits."""
    return _along_rows(_along_rows(planes).swapaxes(-2, -1)).swapaxes(-2, -1)


def _along_rows(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    height = planes.shape[-2] - 2 * _RADIUS
    result = planes[..., _RADIUS : _RADIUS + height, :] * _TAPS[_RADIUS]
    pair = np.empty_like(result)
    for i in range(_RADIUS):  # the window is symmetric: two rows share a weight
        j = 2 * _RADIUS - i
        np.add(planes[..., i : i + height, :], planes[..., j : j + height, :], out=pair)
        pair *= _TAPS[i]
        result += pair
    return result


def _padded(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """``(H, W, 3) -> (3, H + 10, W + 10)``, borders replicated."""
    planes = image.transpose(2, 0, 1).astype(np.float64)
    return np.pad(planes, ((0, 0), (_RADIUS, _RADIUS), (_RADIUS, _RADIUS)), mode="edge")


def _across_channels(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The window along ``(C, ...)`` with the first and last channel replicated: a small matrix."""
    channels = len(planes)
    mixing = np.zeros((channels, channels))
    for c in range(channels):
        for offset, tap in zip(range(-_RADIUS, _RADIUS + 1), _TAPS, strict=True):
            mixing[c, min(max(c + offset, 0), channels - 1)] += tap
    return np.einsum("cd,dhw->chw", mixing, planes)
