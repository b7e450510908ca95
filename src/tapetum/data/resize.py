"""Resizing as OpenCV does it: ``INTER_LINEAR`` bit for bit (SID, SMID and SDSD), ``INTER_CUBIC`` (UIEB, LSUI, BAID)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sized = Callable[[int, int], tuple[int, int]]
"""The ``(height, width)`` that a picture of ``(height, width)`` is resized to."""

_BITS = 11
_ONE = 1 << _BITS


def resize_bilinear(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """``(H, W, C)`` uint8 or float32 to ``(height, width, C)`` of the same type.

    Half-pixel centres, no smoothing when shrinking. 8-bit pictures are computed in OpenCV's fixed point, whose shifts
    cut downwards: one value in eight lies a level below the rounded exact result.

    Raises:
        ValueError: another type or shape.
    """
    if image.ndim != 3 or image.dtype not in (np.uint8, np.float32):
        raise ValueError(f"need (H, W, C) uint8 or float32, got {image.shape} {image.dtype}")
    rows, columns = _samples(image.shape[0], height), _samples(image.shape[1], width)
    if image.dtype == np.uint8:
        return _fixed_point(image, rows, columns)
    top, bottom, f_row = rows
    left, right, f_column = columns
    f_row, f_column = f_row[:, None, None], f_column[:, None]
    across = image[:, left] * (1 - f_column) + image[:, right] * f_column
    return across[top] * (1 - f_row) + across[bottom] * f_row


_Samples = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


def _samples(old: int, new: int) -> _Samples:
    """For each new position: the two old ones it lies between (clipped), and the weight of the second."""
    position = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(position)
    index = first.astype(np.intp)
    return index.clip(0, old - 1), (index + 1).clip(0, old - 1), position - first


def _fixed_point(image: NDArray[Any], rows: _Samples, columns: _Samples) -> NDArray[np.uint8]:
    left, right, f_column = columns
    p, q = (w[:, None] for w in _integer_weights(f_column))
    across = p * image[:, left].astype(np.int32) + q * image[:, right].astype(np.int32)
    top, bottom, f_row = rows
    p, q = (w[:, None, None] for w in _integer_weights(f_row))
    down = (p * (across[top] >> 4) >> 16) + (q * (across[bottom] >> 4) >> 16)
    return ((down + 2) >> 2).astype(np.uint8)


def _integer_weights(f: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return np.rint((1 - f) * _ONE).astype(np.int32), np.rint(f * _ONE).astype(np.int32)


_CUBIC = -0.75


def resize_bicubic(image: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """OpenCV's ``INTER_CUBIC`` on floats, ``(H, W, C)`` to ``(height, width, C)``: a = -0.75, half-pixel centres, edge
    pixels repeated, no smoothing when shrinking, not clipped. Bilinear's exactness to the bit is not claimed here.

    Raises:
        ValueError: another type or shape.
    """
    if image.ndim != 3 or image.dtype != np.float32:
        raise ValueError(f"need (H, W, C) float32, got {image.shape} {image.dtype}")
    index, weights = _cubic_samples(image.shape[1], width)
    across = sum(image[:, i] * w[:, None] for i, w in zip(index, weights, strict=True))
    index, weights = _cubic_samples(image.shape[0], height)
    return sum(across[i] * w[:, None, None] for i, w in zip(index, weights, strict=True))  # type: ignore[index, return-value]


def _cubic_samples(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each new position the four old ones around it (clipped) and their weights, ``(4, new)`` each."""
    position = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(position)
    t = position - first
    near, far = [t, 1 - t], [t + 1, 2 - t]
    inner = [((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1 for d in near]
    outer = [((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC for d in far]
    weights = np.stack([outer[0], inner[0], inner[1], outer[1]]).astype(np.float32)
    index = first.astype(np.intp) + np.arange(-1, 3)[:, None]
    return index.clip(0, old - 1), weights


def square(side: int) -> Sized:
    """``side`` x ``side``, whatever the proportions."""
    return partial(_square, side)


def longest(limit: int) -> Sized:
    """The longer side at most ``limit``, the other in proportion, cut to a whole number (0 becomes 1)."""
    return partial(_longest, limit)


def scaled(rate: float) -> Sized:
    """Both sides times ``rate``, cut to whole numbers, then raised to multiples of 8."""
    return partial(_scaled, rate)


# partials of these go to the loader's processes, which closures cannot
def _square(side: int, height: int, width: int) -> tuple[int, int]:
    return side, side


def _longest(limit: int, height: int, width: int) -> tuple[int, int]:
    side = max(height, width)
    if side <= limit:
        return height, width
    return max(1, height * limit // side), max(1, width * limit // side)


def _scaled(rate: float, height: int, width: int) -> tuple[int, int]:
    rows, columns = (max(8, -(-int(side * rate) // 8) * 8) for side in (height, width))
    return rows, columns


def resized(image: NDArray[np.float32], sized: Sized) -> NDArray[np.float32]:
    """``(H, W, C)`` by :func:`resize_bicubic`; the picture itself where it has that size."""
    height, width = sized(*image.shape[:2])
    return image if image.shape[:2] == (height, width) else resize_bicubic(image, width, height)
