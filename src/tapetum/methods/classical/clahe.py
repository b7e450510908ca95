"""CLAHE, contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994), of max(R, G, B).

8 x 8 regions, 256 levels. A region's histogram is cut at twice the height that it would have if all levels were alike,
and what was cut off is shared out to all levels evenly, once. Between the middles of regions their curves are mixed
bilinearly. Hue and saturation (of HSV) stay.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tapetum.methods.classical.contract import LEVELS, Classical, Pixels, Planes, histogram, with_lightness
from tapetum.methods.contract import Place

REGIONS = 8
CLIP_LIMIT = 2.0
_ROWS = 64  # of a part that are looked up together


def analyse(pixels: Pixels) -> NDArray[np.float32]:
    """The curve of each region: ``(8, 8, 256)``, fewer where a side has fewer pixels than regions."""
    rows, columns = (np.linspace(0, side, min(REGIONS, side) + 1).round().astype(int) for side in pixels.shape[:2])
    return np.array(
        [
            [curve(histogram(pixels[top:bottom, left:right])) for left, right in pairwise(columns)]
            for top, bottom in pairwise(rows)
        ],
        np.float32,
    )


def curve(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The cumulated shares of a histogram that is cut at the limit."""
    limit = CLIP_LIMIT * counts.sum() / LEVELS
    cut = np.minimum(counts, limit)
    return np.cumsum(cut + (counts.sum() - cut.sum()) / LEVELS) / counts.sum()


def apply(low: Planes, analysis: NDArray[np.float32], place: Place) -> Planes:
    """The curves at each pixel's place, mixed."""
    enhanced = np.empty_like(low)
    for top in range(0, low.shape[1], _ROWS):
        part = low[:, top : top + _ROWS]
        here = Place(place.top + top, place.left, place.height, place.width)
        enhanced[:, top : top + _ROWS] = with_lightness(part, _looked_up(part.max(axis=0), analysis, here))
    return enhanced


def _looked_up(lightness: NDArray[np.float32], curves: NDArray[np.float32], place: Place) -> NDArray[np.float32]:
    table = curves.reshape(-1)
    position = np.clip(lightness, 0, 1) * np.float32(LEVELS - 1)
    level = np.minimum(position.astype(np.int64), LEVELS - 2)
    above = position - level
    ups, downs, down_shares = _neighbours(place.top, lightness.shape[0], place.height, curves.shape[0])
    lefts, rights, right_shares = _neighbours(place.left, lightness.shape[1], place.width, curves.shape[1])
    new = np.zeros_like(lightness)
    for row, row_share in ((ups, 1 - down_shares), (downs, down_shares)):
        for column, column_share in ((lefts, 1 - right_shares), (rights, right_shares)):
            at = (row[:, None] * curves.shape[1] + column) * LEVELS + level
            value = table[at] * (1 - above) + table[at + 1] * above
            new += row_share[:, None] * column_share * value
    return new


def _neighbours(
    start: int, count: int, side: int, regions: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Of rows (or columns): the regions whose middles are before and behind, and the share of the one behind."""
    position = np.clip((np.arange(start, start + count) + 0.5) * regions / side - 0.5, 0, regions - 1)
    before = position.astype(np.int64)
    return before, np.minimum(before + 1, regions - 1), (position - before).astype(np.float32)


CLAHE = Classical("clahe", "CLAHE (Graphics Gems IV, 1994)", apply, analyse, 24)
