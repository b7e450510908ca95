"""GT-mean: give the result the target's mean brightness before it is scored (the KinD / LLFlow protocol).

It forgives a wrong overall exposure by looking at the answer. A figure made with it must say so, and which of the
variants below: papers differ by tenths of a dB.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tapetum.metrics.pictures import Image, as_float, check


def gt_mean_gray601_rgb(enhanced: Image, target: Image) -> NDArray[np.floating]:
    """Grey of the test script of Retinexformer and DED-Net: OpenCV's BGR-to-grey applied to RGB pictures, so the
    weights are 0.114 R + 0.587 G + 0.299 B. Keep it for figures that compare with theirs.
    """
    return _scaled(enhanced, target, lambda image: _weighted_mean(image, 0.114, 0.587, 0.299))


def gt_mean_gray601(enhanced: Image, target: Image) -> NDArray[np.floating]:
    """Grey as it should be: 0.299 R + 0.587 G + 0.114 B."""
    return _scaled(enhanced, target, lambda image: _weighted_mean(image, 0.299, 0.587, 0.114))


def gt_mean_mean(enhanced: Image, target: Image) -> NDArray[np.floating]:
    """The plain mean over all pixels and channels."""
    return _scaled(enhanced, target, lambda image: float(image.mean(dtype=np.float64)))


def _weighted_mean(image: Image, *weights: float) -> float:
    """Of the mean of each channel; whole rows are added first, which is many times as fast as along a channel."""
    height, width, channels = image.shape
    columns = image.reshape(height, width * channels).sum(0, dtype=np.float64)
    return float(columns.reshape(width, channels).sum(0) @ np.array(weights)) / (height * width)


def _scaled(enhanced: Image, target: Image, brightness: Callable[[Image], float]) -> NDArray[np.floating]:
    """``(H, W, 3)`` in [0, 1], times one number for all channels, clipped. A black picture stays black."""
    check(enhanced, target)
    a = as_float(enhanced, np.float32)
    own = brightness(a)
    ratio = brightness(as_float(target, np.float32)) / own if own > 0 else 1.0
    a *= np.float32(ratio)  # as_float gave a new one
    return np.clip(a, 0, 1, out=a)
