"""Mean and spread of several pictures of one size, of which only one is in memory at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

SPREAD_GAIN = 8.0  # of a spread that people shall see: white is a standard deviation of an eighth of the range
_ROWS = 64  # that are worked on at once: little memory beside the two sums


class Moments:
    """Welford's sums (Technometrics 1962): equal pictures have a spread of exactly zero.

    Attributes:
        count: pictures added. Mean and spread need at least one.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, pixels: np.ndarray) -> None:
        """``(H, W, C)``, all of one size: uint8, uint16, or floating in 0..1."""
        if self.count == 0:
            self._mean = np.zeros(pixels.shape, np.float32)
            self._squares = np.zeros(pixels.shape, np.float32)  # sum of squared distances to the mean
        self.count += 1
        scale = np.float32(1 / np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)
        for top in range(0, pixels.shape[0], _ROWS):
            rows = slice(top, top + _ROWS)
            difference = pixels[rows] * scale - self._mean[rows]
            step = difference / np.float32(self.count)
            self._mean[rows] += step
            self._squares[rows] += difference * (difference - step)

    def mean(self, dtype: DTypeLike) -> np.ndarray:
        """``(H, W, C)`` of a dtype that :meth:`add` takes, rounded for whole numbers."""
        return _of_dtype(self._mean, dtype)

    def spread(self, dtype: DTypeLike, gain: float = 1) -> np.ndarray:
        """``gain`` times the standard deviation over the pictures, ``(H, W, C)``, at most white."""
        deviation = np.sqrt(self._squares / np.float32(self.count))
        return _of_dtype(np.minimum(deviation * np.float32(gain), 1), dtype)


def _of_dtype(values: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    dtype = np.dtype(dtype)
    if dtype.kind != "u":
        return values.astype(dtype)
    return np.rint(values * np.float32(np.iinfo(dtype).max)).astype(dtype)
