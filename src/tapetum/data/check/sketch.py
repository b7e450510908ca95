"""A picture as the directions of its edges: what stays when the same place is photographed with another exposure.

Brightness is replaced by its rank among all pixels, so any rising tone curve gives the same sketch. What is compared is
then the gradient's direction at each place, as in orientation correlation (Fitch, Kadyrov, Christmas and Kittler 2002,
"Orientation correlation"), with strong edges near length 1 and noise near 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.imaging import shrink

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
_SOFT = 0.02  # change of rank from one pixel to the next that counts half (as a square): below is mostly noise
_SMOOTH = 4  # pixels around one whose mean is taken off: slow ramps are light, not things


def grey(pixels: NDArray[np.generic], longest: int) -> NDArray[np.float32]:
    """Shrunk by area averaging until the longer side has ``longest`` pixels; never enlarged.

    Args:
        pixels: ``(H, W, 1 or 3)``, unsigned or floating.

    Returns:
        ``(h, w)``.
    """
    height, width = pixels.shape[:2]
    factor = min(1.0, longest / max(height, width))
    small = shrink(pixels, max(1, round(height * factor)), max(1, round(width * factor)))
    return small[..., 0] if small.shape[2] == 1 else small @ _LUMA


def ranks(brightness: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(h, w)``: each value's place among all, 0..1; equal ones share the middle of theirs."""
    _, inverse, counts = np.unique(brightness.ravel(), return_inverse=True, return_counts=True)
    places = (np.cumsum(counts) - counts / 2) / brightness.size
    return places[inverse].reshape(brightness.shape).astype(np.float32)


def directions(rank: NDArray[np.float32]) -> NDArray[np.complex64]:
    """``(h, w)`` of complex numbers: the gradient's direction (x real, y imaginary), of length 0..1."""
    detail = np.pad(rank - _local_mean(rank), 1, mode="edge")
    across = detail[1:-1, 2:] - detail[1:-1, :-2]
    down = detail[2:, 1:-1] - detail[:-2, 1:-1]
    gradient = (across + 1j * down).astype(np.complex64) / 2
    length = np.sqrt(np.abs(gradient) ** 2 + np.float32(_SOFT**2))
    return (gradient / length).astype(np.complex64, copy=False)


def _local_mean(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over squares of ``2 _SMOOTH + 1`` pixels; edges are repeated."""
    size = 2 * _SMOOTH + 1
    sums = np.pad(image, _SMOOTH, mode="edge").astype(np.float64)
    for axis in (0, 1):
        sums = np.cumsum(np.insert(sums, 0, 0, axis), axis)
        sums = np.take(sums, range(size, sums.shape[axis]), axis) - np.take(sums, range(sums.shape[axis] - size), axis)
    return (sums / size**2).astype(np.float32)
