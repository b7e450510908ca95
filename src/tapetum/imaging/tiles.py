"""Overlapping tiles: how a picture is cut, padded and put together again, one band of rows at a time.

Neighbouring tiles are joined by a linear ramp in the middle of their overlap, ``a + f (b - a)``: the weights sum to
exactly one, and where two tiles agree the result is what they agree on, to the last bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

RAMP = 16  # pixels over which one tile fades into the next
_LEAST_MARGIN = 16  # of overlap at each side of the ramp, also where a network sees less far


@dataclass(frozen=True)
class Grid:
    """Where the tiles lie.

    Attributes:
        height, width: of the picture, padded to the size multiple.
        tops, lefts: first row and column of the tiles, multiples of the size multiple.
        tile_height, tile_width: the same for all tiles.
        ramp: width in pixels of the ramp between two tiles.
    """

    height: int
    width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    tile_height: int
    tile_width: int
    ramp: int

    @property
    def whole(self) -> bool:
        """Whether one tile is the picture."""
        return len(self.tops) == len(self.lefts) == 1


def plan(height: int, width: int, *, multiple: int, minimum: int, margin: int, limit: float) -> Grid:
    """The grid that computes the fewest pixels.

    Args:
        height, width: of the picture.
        multiple: sides and positions of tiles are multiples of this.
        minimum: smallest side of a tile.
        margin: how far the network sees; overlaps are at least twice this plus the ramp, but at most half a tile.
        limit: most pixels that a tile may have. A tile has at least ``max(minimum, 2 * multiple)`` squared.
    """
    height, width = (_round_up(max(side, minimum), multiple) for side in (height, width))
    if height * width <= limit:
        return Grid(height, width, (0,), (0,), height, width, 0)
    side = max(_round_down(math.isqrt(int(limit)), multiple), _round_up(minimum, multiple), 2 * multiple)
    full = _round_up(2 * max(margin, _LEAST_MARGIN) + RAMP, multiple)
    overlap = min(full, _round_down(side // 2, multiple))
    limit = max(limit, side * side)
    best = None
    for columns in range(1, _count(width, side, overlap) + 1):
        tile_width = _tile_side(width, columns, overlap, multiple)
        longest = _round_down(int(limit // tile_width), multiple)
        if tile_width < minimum or longest < max(minimum, 2 * overlap):
            continue
        rows = _count(height, longest, overlap)
        tile_height = _tile_side(height, rows, overlap, multiple)
        cost = rows * columns * tile_height * tile_width
        if tile_height >= minimum and (best is None or cost < best[0]):
            best = (cost, rows, columns, tile_height, tile_width)
    if best is None:  # sides that leave no better choice than square tiles
        rows, columns = _count(height, side, overlap), _count(width, side, overlap)
        best = (0, rows, columns, min(side, height), min(side, width))
    _, rows, columns, tile_height, tile_width = best
    return Grid(
        height,
        width,
        _starts(height, tile_height, rows, multiple),
        _starts(width, tile_width, columns, multiple),
        tile_height,
        tile_width,
        min(RAMP, max(1, overlap // 4)),
    )


def cut(pixels: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Rows and columns of ``(H, W, C)`` from ``(top, left)`` on, past the end reflected (the edge is not repeated), or
    the edge repeated where the picture is too small to be reflected. Returns ``(height, width, C)``."""
    if top + height <= pixels.shape[0] and left + width <= pixels.shape[1]:
        return pixels[top : top + height, left : left + width]
    rows = _reflected(pixels.shape[0], top + height)[top:]
    columns = _reflected(pixels.shape[1], left + width)[left:]
    return pixels[rows[:, None], columns]


def bands(grid: Grid, tile: Callable[[int, int], np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Runs all tiles, row by row, and joins them.

    Args:
        tile: ``(top, left) -> (C, tile_height, tile_width)``, the tile there.

    Yields:
        first row and finished rows ``(C, rows, width)``, from the top down. Only one band is in memory at a time; it
        may be written to.
    """
    if grid.whole:
        yield 0, tile(0, 0)
        return
    carried: np.ndarray | None = None  # the rows that the next band's ramp takes from this one
    ramps = _ramp_starts(grid.tops, grid.tile_height, grid.ramp)
    for i, top in enumerate(grid.tops):
        band = _join_columns(grid, top, tile)
        first = 0
        if carried is not None:
            first = ramps[i - 1] - top
            ours = band[:, first : first + grid.ramp]
            ours[:] = _mix(carried, ours, _ramp(grid.ramp)[:, None])
        last = ramps[i] - top if i < len(ramps) else grid.tile_height
        carried = band[:, last : last + grid.ramp].copy()
        yield top + first, band[:, first:last]


def _join_columns(grid: Grid, top: int, tile: Callable[[int, int], np.ndarray]) -> np.ndarray:
    band: np.ndarray | None = None
    ramps = _ramp_starts(grid.lefts, grid.tile_width, grid.ramp)
    for i, left in enumerate(grid.lefts):
        piece = tile(top, left)
        if band is None:
            band = np.empty((piece.shape[0], grid.tile_height, grid.width), piece.dtype)
            band[:, :, : grid.tile_width] = piece
            continue
        first = ramps[i - 1]
        middle = first + grid.ramp
        band[:, :, first:middle] = _mix(
            band[:, :, first:middle], piece[:, :, first - left : middle - left], _ramp(grid.ramp)
        )
        band[:, :, middle : left + grid.tile_width] = piece[:, :, middle - left :]
    assert band is not None
    return band


def _mix(old: np.ndarray, new: np.ndarray, share: np.ndarray) -> np.ndarray:
    return old + share * (new - old)


def _ramp(length: int) -> np.ndarray:
    return np.arange(1, length + 1, dtype=np.float32) / np.float32(length + 1)


def _ramp_starts(starts: tuple[int, ...], side: int, ramp: int) -> list[int]:
    """Where the ramps to the second, third... tile begin: in the middle of the overlaps."""
    return [(before + side + start - ramp) // 2 for before, start in itertools.pairwise(starts)]


def _count(length: int, side: int, overlap: int) -> int:
    """How many tiles of a side cover a length."""
    return 1 if length <= side else -(-(length - overlap) // (side - overlap))


def _tile_side(length: int, count: int, overlap: int, multiple: int) -> int:
    """The smallest side with which so many tiles cover a length."""
    return _round_up(-(-(length + (count - 1) * overlap) // count), multiple)


def _starts(length: int, side: int, count: int, multiple: int) -> tuple[int, ...]:
    if count == 1:
        return (0,)
    return tuple(_round_down(i * (length - side) // (count - 1), multiple) for i in range(count))


def _reflected(size: int, padded: int) -> np.ndarray:
    index = np.arange(padded)
    more = padded - size
    if more > 0:
        index[size:] = size - 2 - np.arange(more) if more < size else size - 1
    return index


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _round_down(value: int, multiple: int) -> int:
    return value // multiple * multiple
