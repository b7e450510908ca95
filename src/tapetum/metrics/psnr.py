"""Peak signal-to-noise ratio in dB, in the conventions that the field's figures use."""

from __future__ import annotations

import math

import numpy as np

from tapetum.metrics.pictures import Image, as_float, as_uint8, check, cut_border, luma


def psnr_rgb_uint8(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """Both rounded to 8 bit, all channels at once, peak 255: what anybody gets from the written files. The default.

    Equal pictures have an infinite one. ``crop_border`` pixels are cut off every side first.
    """
    check(enhanced, target)
    a, b = (cut_border(as_uint8(image), crop_border) for image in (enhanced, target))
    difference = a.astype(np.int16) - b
    return _ratio(np.square(difference, dtype=np.int32).sum(dtype=np.int64) / difference.size, 255)


def psnr_y_uint8(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """On the unrounded Y of 8-bit pictures, peak 255 (BasicSR's ``test_y_channel``)."""
    check(enhanced, target)
    a, b = (luma(cut_border(as_uint8(image), crop_border)) for image in (enhanced, target))
    return _ratio(np.square(a - b).mean(), 255)


def psnr_float(enhanced: Image, target: Image) -> float:
    """Of the test script of Retinexformer and DED-Net: clamped, **not** rounded, float32, peak 1; 100 if equal."""
    check(enhanced, target)
    error = np.square(as_float(enhanced, np.float32) - as_float(target, np.float32)).mean(dtype=np.float32)
    return 100.0 if error == 0 else _ratio(float(error), 1)


def psnr_float_validation(enhanced: Image, target: Image, crop_border: int = 0) -> float:
    """Of BasicSR's validation loop: clamped, not rounded, float64, peak 1."""
    check(enhanced, target)
    a, b = (as_float(cut_border(image, crop_border)) for image in (enhanced, target))
    return _ratio(np.square(a - b).mean(), 1)


def _ratio(squared_error: float, peak: float) -> float:
    return math.inf if squared_error == 0 else 10 * math.log10(peak**2 / squared_error)
