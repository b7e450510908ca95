"""Histogram equalisation of the lightness max(R, G, B) (Gonzalez and Woods, Digital Image Processing, section 3.3).

The levels of lightness are spread so that each is as frequent as another: the darkest of the picture becomes 0, the
lightest 1. Hue and saturation (of HSV) stay. A picture of one lightness stays as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.methods.classical.contract import LEVELS, Classical, Pixels, Planes, histogram, with_lightness
from tapetum.methods.contract import Place


def analyse(pixels: Pixels) -> NDArray[np.float32]:
    """The new lightness of each of 256 levels: their cumulated share, without that of the darkest."""
    cumulated = np.cumsum(histogram(pixels))
    darkest, all_pixels = cumulated[cumulated > 0][0], cumulated[-1]
    if darkest == all_pixels:
        return np.linspace(0, 1, LEVELS, dtype=np.float32)
    return (np.maximum(cumulated - darkest, 0) / (all_pixels - darkest)).astype(np.float32)


def apply(low: Planes, analysis: NDArray[np.float32], place: Place) -> Planes:
    """Between two levels the new lightness is interpolated."""
    positions = np.clip(low.max(axis=0), 0, 1) * np.float32(LEVELS - 1)
    return with_lightness(low, np.interp(positions, np.arange(LEVELS), analysis).astype(np.float32))


HISTOGRAM_EQUALISATION = Classical("histeq", "Histogram equalisation", apply, analyse, 32)
