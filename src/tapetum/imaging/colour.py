"""sRGB (IEC 61966-2-1): its transfer curve and its luminance, on NumPy arrays."""

from __future__ import annotations

import numpy as np

LUMINANCE_WEIGHTS = (0.2126, 0.7152, 0.0722)  # of linear R, G, B (Rec. ITU-R BT.709)


def srgb_to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB values to linear light: any shape, float, 0..1 to 0..1. Odd: negative values keep their sign."""
    magnitude = np.abs(srgb)
    linear = np.where(magnitude <= 0.04045, magnitude / 12.92, ((magnitude + 0.055) / 1.055) ** 2.4)
    return np.copysign(linear, srgb).astype(srgb.dtype, copy=False)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """The inverse of :func:`srgb_to_linear`."""
    magnitude = np.abs(linear)
    srgb = np.where(magnitude <= 0.0031308, magnitude * 12.92, 1.055 * magnitude ** (1 / 2.4) - 0.055)
    return np.copysign(srgb, linear).astype(linear.dtype, copy=False)


def luminance(linear: np.ndarray) -> np.ndarray:
    """Relative luminance Y of linear RGB, ``(..., 3) -> (...)``."""
    return linear @ np.asarray(LUMINANCE_WEIGHTS, dtype=linear.dtype)
