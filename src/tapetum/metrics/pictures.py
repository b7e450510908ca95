"""What all measures ask of their pictures, and the conversions that conventions name. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""``(H, W, 3)`` RGB: uint8, or floating in [0, 1]."""


def check(enhanced: Image, target: Image, name: str = "target") -> None:
    """Raises ValueError unless both are ``(H, W, 3)`` of one size, each uint8 or floating. ``name`` is the second's."""
    check_one(enhanced)
    check_one(target, name)
    if enhanced.shape != target.shape:
        raise ValueError(f"enhanced and {name} differ in size: {enhanced.shape} and {target.shape}")


def check_one(image: Image, name: str = "enhanced") -> None:
    """Raises ValueError unless it is ``(H, W, 3)`` with pixels, uint8 or floating and finite."""
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"{name} must be (H, W, 3), got {image.shape}")
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise ValueError(f"{name} must be uint8, or floating in [0, 1], got {image.dtype}")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"{name} has values that are no numbers (NaN) or infinite")


def as_uint8(image: Image) -> NDArray[np.uint8]:
    """Clamped, times 255, rounded half to even. 8-bit pictures as they are."""
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    if image.dtype == np.float16:  # 255 times it would be rounded to its 11 bits first
        image = image.astype(np.float32)
    scaled = np.clip(image, 0, 1)
    scaled *= image.dtype.type(255)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def as_float(image: Image, dtype: type = np.float64) -> NDArray[np.floating]:
    """In [0, 1], clamped: always a new array."""
    scaled = image.astype(dtype)
    if image.dtype == np.uint8:
        scaled /= dtype(255)
        return scaled
    return np.clip(scaled, 0, 1, out=scaled)


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """MATLAB's Y of an 8-bit RGB picture, 16..235, not rounded: ``(H, W, 3) -> (H, W)``."""
    return image @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def grey601(image: Image) -> NDArray[np.float64]:
    """0.299 R + 0.587 G + 0.114 B of the picture rounded to 8 bit, 0..255, not rounded: ``(H, W, 3) -> (H, W)``."""
    return as_uint8(image).astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def cut_border(image: Image, pixels: int) -> Image:
    """``pixels`` cut off every side. Raises ValueError where nothing would be left."""
    height, width = image.shape[:2]
    if pixels < 0 or 2 * pixels >= min(height, width):
        raise ValueError(f"crop_border must be from 0 to less than half of {height} x {width} pixels, got {pixels}")
    return image[pixels : height - pixels, pixels : width - pixels]
