"""Structural similarity (Wang et al., IEEE TIP 2004) in the conventions that the field's figures use.

All: 8-bit pictures, constants (0.01 * 255)^2 and (0.03 * 255)^2, float64; and, but for ``ssim_uniform7_uint8``, a
Gaussian window of 11 taps and sigma 1.5. Where llvmlite is installed (the extra ``torch``), the Gaussian ones in two
dimensions run as machine code (:mod:`tapetum.metrics.compiled_ssim`): the same values to the last digits, sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.metrics.pictures import Image, as_uint8, check, cut_border, luma

_RADIUS = 5
UNIFORM = 7  # side of the window without weights
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_STRIP = 64  # rows measured together: their planes stay in the processor's cache
_ROWS, _COLUMNS = 16, 32  # filtered by one product of matrices: larger ones multiply more zeros
_TAPS = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / 1.5) ** 2)
_TAPS /= _TAPS.sum()
_BAND = np.array([np.pad(_TAPS, (i, _COLUMNS - 1 - i)) for i in range(_COLUMNS)])
"""The window at neighbouring positions, one to a row."""


def ssim_gaussian_valid_uint8(enhanced: Image, target: Image) -> float:
    """Of the test script of Retinexformer and DED-Net, and scikit-image's with ``gaussian_weights``, sigma 1.5 and
    population covariance: per channel, only where the window fits; mean over positions, then R, G, B.

    Raises:
        ValueError: a side is shorter than the window (11).
    """
    check(enhanced, target)
    a, b = as_uint8(enhanced), as_uint8(target)
    _check_size(a)
    return gaussian_similarity(a, b)


def ssim_y_uint8(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """Of the unrounded Y, borders replicated, no cut (BasicSR's ``test_y_channel`` in the Retinexformer toolbox)."""
    check(enhanced, target)
    a, b = (luma(cut_border(as_uint8(image), crop_border)) for image in (enhanced, target))
    return gaussian_similarity(np.pad(a, _RADIUS, mode="edge"), np.pad(b, _RADIUS, mode="edge"))


def ssim_y_valid_uint8(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """Of the unrounded Y, only where the window fits (BasicSR's ``test_y_channel``, as MambaLLIE's toolbox has it).

    Raises:
        ValueError: a side is shorter than the window (11).
    """
    check(enhanced, target)
    a, b = (luma(cut_border(as_uint8(image), crop_border)) for image in (enhanced, target))
    _check_size(a)
    return gaussian_similarity(a, b)


def ssim_3d_uint8(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """One 11 x 11 x 11 Gaussian over rows, columns **and channels**, borders replicated (the toolbox's RGB SSIM)."""
    check(enhanced, target)
    a, b = (_padded(cut_border(as_uint8(image), crop_border)) for image in (enhanced, target))
    moments = np.stack([_across_channels(_filtered(planes)) for planes in (a, b, a * a + b * b, a * b)])
    return float(_similarity(moments).mean())


def ssim_uniform7_uint8(enhanced: Image, target: Image) -> float:
    """scikit-image's default, of UPT-Flow's test script: a uniform window of 7 x 7 with sample covariance, per channel,
    only where the window fits; mean over positions and channels.

    Raises:
        ValueError: a side is shorter than the window (7).
    """
    check(enhanced, target)
    a, b = as_uint8(enhanced), as_uint8(target)
    if min(a.shape[:2]) < UNIFORM:
        raise ValueError(f"SSIM needs pictures of at least 7 x 7, got {a.shape[0]} x {a.shape[1]}")
    return float(np.mean([uniform_similarity(a[..., c], b[..., c]) for c in range(3)]))


def uniform_similarity(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Of two planes ``(H, W)``, 0..255, uint8 or floating: means of 7 x 7 that fit, sample covariance, mean over
    positions (scikit-image's default). Sides are at least 7.
    """
    return _mean_similarity(a, b, _uniform, UNIFORM)


def gaussian_similarity(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Of ``(H, W)`` or ``(H, W, C)``, 0..255: mean over channels, and positions where the window fits. Sides are at
    least 11.
    """
    compiled = _compiled()
    if compiled is not None:
        return compiled(a, b, _TAPS.tolist(), (_C1, _C2))
    channels = [(a, b)] if a.ndim == 2 else [(a[..., c], b[..., c]) for c in range(a.shape[2])]
    return float(np.mean([_mean_similarity(*planes, _gaussian, 2 * _RADIUS + 1) for planes in channels]))


@cache
def _compiled() -> Callable[..., float] | None:
    """The same as machine code; None where llvmlite is not installed, or cannot make any for this machine."""
    try:
        from tapetum.metrics.compiled_ssim import similarity

        blank = np.zeros((2 * _RADIUS + 1,) * 2, np.uint8)
        similarity(blank, blank, _TAPS.tolist(), (_C1, _C2))
    except (ImportError, OSError, RuntimeError):
        return None
    return similarity


def _check_size(image: NDArray[np.generic]) -> None:
    if min(image.shape[:2]) < 2 * _RADIUS + 1:
        raise ValueError(f"SSIM needs pictures of at least 11 x 11, got {image.shape[0]} x {image.shape[1]}")


def _mean_similarity(
    a: NDArray[np.generic],
    b: NDArray[np.generic],
    moments: Callable[[NDArray[np.generic], NDArray[np.generic]], NDArray[np.float64]],
    window: int,
) -> float:
    """Of two planes ``(H, W)``, over the positions where the window of that side fits."""
    height, width = (side - window + 1 for side in a.shape)
    total = 0.0
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height) + window - 1)
        total += _similarity(moments(a[rows], b[rows])).sum()
    return float(total / (height * width))


def _gaussian(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.float64]:
    """The window's mean of a, b, a^2 + b^2 and a b: ``(H, W), (H, W) -> (4, H - 10, W - 10)``."""
    return _filtered(_products(a, b, np.float64))


def _uniform(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.float64]:
    """The same of 7 x 7 without weights, with *sample* variances and covariance in the place of the population's:
    ``(4, H - 6, W - 6)``.
    """
    sums = _products(a, b, np.int32 if a.dtype == b.dtype == np.uint8 else np.float64)  # integers: exact, and quick
    for _ in range(2):
        pairs = sums[:, 1:] + sums[:, :-1]
        fours = pairs[:, 2:] + pairs[:, :-2]
        sums = (fours[:, :-3] + pairs[:, 4:-1] + sums[:, 6:]).swapaxes(1, 2)
    means = sums / float(UNIFORM**2)
    mean_a, mean_b, squares, product = means
    more = 1 / (UNIFORM**2 - 1)
    squares += more * (squares - mean_a * mean_a - mean_b * mean_b)
    product += more * (product - mean_a * mean_b)
    return means


def _products(a: NDArray[np.generic], b: NDArray[np.generic], dtype: type[np.generic]) -> NDArray[Any]:
    """a, b, a^2 + b^2, a b: ``(4, H, W)``."""
    planes = np.empty((4, *a.shape), dtype)
    planes[0], planes[1] = a, b
    np.multiply(planes[0], planes[0], out=planes[2])
    planes[2] += planes[1] * planes[1]
    np.multiply(planes[0], planes[1], out=planes[3])
    return planes


def _similarity(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """From means of a, b, a^2 + b^2 and a b (:func:`_gaussian`), which are overwritten: only the sum of the two
    variances is ever needed.
    """
    a, b, squares, product = moments
    means = a * b
    a *= a
    b *= b
    a += b
    product -= means
    squares -= a
    for term, factor, constant in ((means, 2, _C1), (product, 2, _C2), (a, 1, _C1), (squares, 1, _C2)):
        term *= factor
        term += constant
    means *= product
    a *= squares
    means /= a
    return means


def _filtered(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(P, H, W) -> (P, H - 10, W - 10)``: the separable window, where it fits."""
    count, height, width = len(planes), planes.shape[1] - 2 * _RADIUS, planes.shape[2] - 2 * _RADIUS
    tall = np.empty((count, height, planes.shape[2]))
    for top in range(0, height, _ROWS):
        rows = min(_ROWS, height - top)
        reach = rows + 2 * _RADIUS
        np.matmul(_BAND[:rows, :reach], planes[:, top : top + reach], out=tall[:, top : top + rows])
    result = np.empty((count, height, width))
    flat = tall.reshape(count * height, -1)
    for left in range(0, width, _COLUMNS):
        columns = min(_COLUMNS, width - left)
        reach = columns + 2 * _RADIUS
        part = flat[:, left : left + reach] @ _BAND[:columns, :reach].T
        result[:, :, left : left + columns] = part.reshape(count, height, columns)
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
