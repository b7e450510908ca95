"""PSNR and SSIM of packed linear RAW pictures, as the RAW denoising papers (ELD, ExposureDiffusion) report them.

Pictures ``(C, H, W)`` in [0, 1]; times 255, clipped to 0..255, not rounded. The data range is 255.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.metrics.ssim import UNIFORM, uniform_similarity

Packed = NDArray[np.floating]


def psnr_packed(enhanced: Packed, target: Packed) -> float:
    """One mean square error over all channels and pixels. Infinite for equal pictures.

    Raises:
        ValueError: shapes that differ.
    """
    a, b = _scaled(enhanced, target)
    error = np.square(a - b).mean()
    return float(10 * np.log10(255**2 / error)) if error > 0 else float("inf")


def ssim_packed(enhanced: Packed, target: Packed) -> float:
    """Uniform windows of 7 x 7 that fit, sample covariance; mean over positions, then channels (scikit-image's own).

    Raises:
        ValueError: shapes that differ, or a side shorter than the window.
    """
    a, b = _scaled(enhanced, target)
    if min(a.shape[1:]) < UNIFORM:
        raise ValueError(f"SSIM needs pictures of at least {UNIFORM}x{UNIFORM} pixels, got {a.shape[1]}x{a.shape[2]}")
    return float(np.mean([uniform_similarity(*planes) for planes in zip(a, b, strict=True)]))


def _scaled(enhanced: Packed, target: Packed) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if enhanced.shape != target.shape or enhanced.ndim != 3:
        raise ValueError(f"pictures (C, H, W) of one shape are compared, got {enhanced.shape} and {target.shape}")
    a, b = (np.clip(image.astype(np.float64) * 255, 0, 255) for image in (enhanced, target))
    return a, b
