"""Measures of an enhanced picture, most of them against its target, each in a named convention. NumPy only.

Pictures are ``(H, W, 3)`` RGB, uint8 or floating in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tapetum.errors import UsageError
from tapetum.metrics.gt_mean import gt_mean_gray601, gt_mean_gray601_rgb, gt_mean_mean
from tapetum.metrics.mae import mae
from tapetum.metrics.pictures import Image
from tapetum.metrics.psnr import psnr_float, psnr_float_validation, psnr_rgb_uint8, psnr_y_uint8
from tapetum.metrics.ssim import (
    ssim_3d_uint8,
    ssim_gaussian_valid_uint8,
    ssim_uniform7_uint8,
    ssim_y_uint8,
    ssim_y_valid_uint8,
)
from tapetum.metrics.uciqe import uciqe_lab100
from tapetum.metrics.uiqm import uiqm_plain

__all__ = [
    "Measure",
    "correction",
    "corrections",
    "get",
    "gt_mean_gray601",
    "gt_mean_gray601_rgb",
    "gt_mean_mean",
    "mae",
    "names",
    "psnr_float",
    "psnr_float_validation",
    "psnr_rgb_uint8",
    "psnr_y_uint8",
    "ssim_3d_uint8",
    "ssim_gaussian_valid_uint8",
    "ssim_uniform7_uint8",
    "ssim_y_uint8",
    "ssim_y_valid_uint8",
    "uciqe_lab100",
    "uiqm_plain",
]


@dataclass(frozen=True)
class Measure:
    """A measure as a table needs it. Called as ``measure(enhanced, target) -> float``.

    Attributes:
        needs_target: false where ``compute`` takes the enhanced picture alone; the target is ignored then.
    """

    name: str
    compute: Callable[..., float]
    unit: str
    higher_is_better: bool
    decimals: int
    needs_target: bool = True

    def __call__(self, enhanced: Image, target: Image | None = None) -> float:
        """Raises ValueError where a target is needed and none is given."""
        if not self.needs_target:
            return self.compute(enhanced)
        if target is None:
            raise ValueError(f"{self.name} compares with a target picture, and there is none")
        return self.compute(enhanced, target)


_MEASURES = {
    measure.name: measure
    for measure in (
        Measure("psnr_rgb_uint8", psnr_rgb_uint8, "dB", True, 2),
        Measure("psnr_float", psnr_float, "dB", True, 2),
        Measure("psnr_float_validation", psnr_float_validation, "dB", True, 2),
        Measure("psnr_y_uint8", psnr_y_uint8, "dB", True, 2),
        Measure("ssim_gaussian_valid_uint8", ssim_gaussian_valid_uint8, "", True, 4),
        Measure("ssim_uniform7_uint8", ssim_uniform7_uint8, "", True, 4),
        Measure("ssim_y_uint8", ssim_y_uint8, "", True, 4),
        Measure("ssim_y_valid_uint8", ssim_y_valid_uint8, "", True, 4),
        Measure("ssim_3d_uint8", ssim_3d_uint8, "", True, 4),
        Measure("mae", mae, "", False, 4),
        Measure("uciqe_lab100", uciqe_lab100, "", True, 4, needs_target=False),
        Measure("uiqm_plain", uiqm_plain, "", True, 4, needs_target=False),
    )
}
_CORRECTIONS = {f.__name__: f for f in (gt_mean_gray601_rgb, gt_mean_gray601, gt_mean_mean)}


def names() -> list[str]:
    """Names that :func:`get` takes."""
    return list(_MEASURES)


def get(name: str) -> Measure:
    """The measure of that name. Raises UsageError for an unknown one; the text lists those there are."""
    if name not in _MEASURES:
        raise UsageError(f"unknown metric {name!r}: choose from {', '.join(_MEASURES)}")
    return _MEASURES[name]


def corrections() -> list[str]:
    """Names that :func:`correction` takes."""
    return list(_CORRECTIONS)


def correction(name: str) -> Callable[[Image, Image], Image]:
    """A GT-mean variant, ``(enhanced, target) -> enhanced``. Raises UsageError for an unknown name."""
    if name not in _CORRECTIONS:
        raise UsageError(f"unknown correction {name!r}: choose from {', '.join(_CORRECTIONS)}")
    return _CORRECTIONS[name]
