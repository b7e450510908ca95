"""Shrinking by exact area averaging."""

from __future__ import annotations

import numpy as np

_SAMPLES = 2**16  # of a row that are summed at once


def shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mean over windows, as PyTorch's ``adaptive_avg_pool2d``: window i of T covers floor(iH/T) .. ceil((i+1)H/T).

    Windows share a row where sizes do not divide, and repeat pixels where the picture is smaller than the target.

    Beside the result it takes a megabyte or two, or one window's share of a row where that is more.

    Args:
        pixels: ``(H, W, C)``, uint8, uint16 or floating.

    Returns:
        ``(height, width, C)`` float32, in the range of ``pixels`` (not scaled to 0..1).
    """
    full_height, full_width, channels = pixels.shape
    tops, bottoms = _windows(full_height, height)
    lefts, rights = _windows(full_width, width)
    sums = np.empty((height, width, channels), np.float64)
    step = max(1, width * _SAMPLES // (full_width * channels))  # columns of the result at a time
    for first in range(0, width, step):
        part = slice(first, first + step)
        offset, end = lefts[part][0], rights[part][-1]
        starts = _interleave(lefts[part], rights[part]) - offset
        for i, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
            sums[i, part] = _window_sums(pixels[top:bottom, offset:end], starts)
    sums /= ((bottoms - tops)[:, None] * (rights - lefts))[..., None]
    return sums.astype(np.float32)


def _window_sums(strip: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """``(rows, columns, C)`` -> ``(windows, C)``: sums, exact in integers. The only temporary is one row."""
    row = strip.sum(axis=0, dtype=np.uint64 if strip.dtype.kind == "u" else np.float64)
    # reduceat needs indices inside the array: a last window that ends with the row is closed by a zero
    row = np.concatenate([row, np.zeros((1, row.shape[1]), row.dtype)])
    return np.add.reduceat(row, starts, axis=0)[::2]


def _windows(size: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(target + 1, dtype=np.int64) * size
    return steps[:-1] // target, -(-steps[1:] // target)


def _interleave(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return np.stack([starts, ends], axis=1).ravel()
