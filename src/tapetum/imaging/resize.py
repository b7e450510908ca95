"""Shrinking by exact area averaging."""

from __future__ import annotations

import numpy as np


def shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mean over windows, as PyTorch's ``adaptive_avg_pool2d``: window i of T covers floor(iH/T) .. ceil((i+1)H/T).

    Windows share a row where sizes do not divide, and repeat pixels where the picture is smaller than the target.

    Args:
        pixels: ``(H, W, C)``, uint8, uint16 or floating.

    Returns:
        ``(height, width, C)`` float32, in the range of ``pixels`` (not scaled to 0..1).
    """
    full_height, full_width, channels = pixels.shape
    tops, bottoms = _windows(full_height, height)
    lefts, rights = _windows(full_width, width)
    area = ((bottoms - tops)[:, None] * (rights - lefts))[..., None]
    columns = _interleave(lefts, rights)
    integer = pixels.dtype.kind == "u"
    sums = np.empty((height, width, channels), np.float64)
    for i, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
        # One strip of rows at a time, exact in integers; the only temporary is one row
        row = pixels[top:bottom].sum(axis=0, dtype=np.uint64 if integer else np.float64)
        # reduceat needs indices inside the array: a last window that ends at W is closed by a row of zeros
        row = np.concatenate([row, np.zeros((1, channels), row.dtype)])
        sums[i] = np.add.reduceat(row, columns, axis=0)[::2]
    return (sums / area).astype(np.float32)


def _windows(size: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(target + 1, dtype=np.int64) * size
    return steps[:-1] // target, -(-steps[1:] // target)


def _interleave(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return np.stack([starts, ends], axis=1).ravel()
