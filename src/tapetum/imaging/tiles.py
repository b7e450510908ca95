"""Overlapping tiles: how a picture is cut, padded and put together again, one tile at a time.

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
    def tiles(self) -> int:
        """How many there are."""
        return len(self.tops) * len(self.lefts)

    @property
    def whole(self) -> bool:
        """Whether one tile is the picture."""
        return self.tiles == 1


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
    rows = _reflected(pixels.shape[0], top, top + height)
    columns = _reflected(pixels.shape[1], left, left + width)
    return pixels[rows[:, None], columns]


def pieces(grid: Grid, tile: Callable[[int, int], np.ndarray]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Runs all tiles, row by row, and joins them.

    Args:
        tile: ``(top, left) -> (C, tile_height, tile_width)``, the tile there, which is written to.

    Yields:
        first row, first column and finished part ``(C, rows, columns)`` of each tile; every pixel once. Beside one tile
        only what its neighbours fade from is in memory (:func:`kept_between_tiles`), if the caller lets go of a part
        before it asks for the next. A part may be written to.
    """
    downward = _ramp_starts(grid.tops, grid.tile_height, grid.ramp)
    across = _ramp_starts(grid.lefts, grid.tile_width, grid.ramp)
    above: np.ndarray | None = None  # (C, ramp, width): the rows that this row of tiles fades from
    for i, top in enumerate(grid.tops):
        first_row = downward[i - 1] - top if i else 0
        end_row = downward[i] - top if i < len(downward) else grid.tile_height
        before: np.ndarray | None = None  # (C, tile_height, ramp): the columns that this tile fades from
        for j, left in enumerate(grid.lefts):
            first = across[j - 1] - left if j else 0
            end = across[j] - left if j < len(across) else grid.tile_width
            piece = tile(top, left)
            if before is not None:
                _fade(before, piece[:, :, first : first + grid.ramp], _ramp(grid.ramp))
            if j < len(across):
                before = piece[:, :, end : end + grid.ramp].copy()
            columns = slice(left + first, left + end)
            if above is not None and i:
                _fade(above[:, :, columns], piece[:, first_row : first_row + grid.ramp, first:end], _ramp(grid.ramp, 1))
            if i < len(downward):
                if above is None:
                    above = np.empty((piece.shape[0], grid.ramp, grid.width), piece.dtype)
                above[:, :, columns] = piece[:, end_row : end_row + grid.ramp, first:end]
            yield top + first_row, left + first, piece[:, first_row:end_row, first:end]
            del piece  # not to be kept while the next tile is computed


def kept_between_tiles(grid: Grid) -> int:
    """Values per channel that :func:`pieces` holds at most beside a tile."""
    # the rows above; the columns before and their successor; a fade's temporaries
    rows = grid.width + 2 * grid.tile_width if len(grid.tops) > 1 else 0
    columns = 4 * grid.tile_height if len(grid.lefts) > 1 else 0
    return grid.ramp * (rows + columns)


def _fade(old: np.ndarray, new: np.ndarray, share: np.ndarray) -> None:
    """``new``, in place, becomes ``old`` where ``share`` is 0 and stays where it is 1."""
    difference = new - old
    difference *= share
    np.add(old, difference, out=new)


def _ramp(length: int, axis: int = 0) -> np.ndarray:
    """Shares along the last axis, or with ``axis`` 1 along the one before."""
    ramp = np.arange(1, length + 1, dtype=np.float32) / np.float32(length + 1)
    return ramp[:, None] if axis else ramp


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


def _reflected(size: int, first: int, end: int) -> np.ndarray:
    """Which of ``size`` samples stand at the places ``first`` to ``end``, of which some lie past the last sample."""
    index = np.arange(first, end)
    outside = index >= size
    index[outside] = 2 * (size - 1) - index[outside] if end - size < size else size - 1
    return index


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _round_down(value: int, multiple: int) -> int:
    return value // multiple * multiple
