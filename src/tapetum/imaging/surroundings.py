"""What a tile does not see: brings it to the brightness that the rest of the picture gives it.

For networks that see all of a picture and cannot be told of it otherwise. The picture is enhanced once in small: ``r``.
Its part under a tile is enhanced alone in small: ``c``. What these differ by is what the surroundings do; where that is
much, somewhere in the picture, the enhanced tile ``t`` is made as bright as the small picture, and where it is nothing
(a network that forgets quickly, or one that looks at details only) the tile stays as it is. It is multiplied by

    r / (t^w c^(1 - w)),    w = S / (S + 0.01),

on means over cells, within 1/e and e; S is the mean square of ``log(r / c)`` of the tile where that is largest. Not
``r / t`` always: a small picture is not enhanced quite like a large one. Tapetum's own; measured in MambaLLIE's card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from tapetum.imaging.tiles import Grid

_CELL = 12  # pixels of the small picture to a cell's side
_MUCH = 0.1**2  # of log(r / c), squared: a tenth more or less light
_DARK = np.float32(0.02)  # keeps logarithms of dark means from running away
_ROWS = 32  # of a tile that are multiplied at once: little memory


class Surroundings:
    """Of the tiles of one picture.

    Args:
        small: the whole picture in small, ``(3, h, w)`` float32 in [0, 1].
        height, width: of the picture itself.
        grid: of its tiles.
        enhance: ``(3, h, w) -> (3, h, w)``, float32, the network that tiles are enhanced with.
    """

    def __init__(
        self, small: np.ndarray, height: int, width: int, grid: Grid, enhance: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        enhanced = enhance(small)
        self._cells: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}  # r and c of each tile
        for top, left in product(grid.tops, grid.lefts):
            rows = _part(top, grid.tile_height, height, small.shape[1])
            columns = _part(left, grid.tile_width, width, small.shape[2])
            counts = [max(1, (part.stop - part.start) // _CELL) for part in (rows, columns)]
            r = _cells(enhanced[:, rows, columns], counts)
            self._cells[top, left] = r, _cells(enhance(small[:, rows, columns]), counts)
        most = max(float(np.square(r - c).mean()) for r, c in self._cells.values())
        self._share = most / (most + _MUCH)

    def apply(self, tile: np.ndarray, top: int, left: int) -> None:
        """Multiplies an enhanced tile of the grid in place: ``(3, H, W)`` float32 with its place."""
        r, c = self._cells[top, left]
        exponent = r - self._share * _cells(tile, r.shape[1:]) - (1 - self._share) * c
        down, across = (_between(side, count) for side, count in zip(tile.shape[1:], r.shape[1:], strict=True))
        exponent = exponent.clip(-1, 1) @ across.T
        for first in range(0, tile.shape[1], _ROWS):
            rows = slice(first, first + _ROWS)
            tile[:, rows] *= np.exp(down[rows] @ exponent)


def _part(start: int, side: int, size: int, small: int) -> slice:
    """The pixels of the small picture under a tile, which may reach past the picture's end a little."""
    first, end = (round(min(place, size) * small / size) for place in (start, start + side))
    return slice(min(first, small - 1), max(end, first + 1))


def _cells(planes: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """``(3, H, W)`` -> ``(3, n, m)``: logarithms of the means over cells of equal size."""
    down, across = (_averages(size, count) for size, count in zip(planes.shape[1:], counts, strict=True))
    return np.log(np.maximum(down @ planes @ across.T, 0) + _DARK)


def _averages(size: int, count: int) -> np.ndarray:
    """``(count, size)``: the means over equal parts of so many samples, samples on a border by their shares."""
    edges, sample = np.linspace(0, size, count + 1), np.arange(size)
    share = np.minimum(edges[1:, None], sample + 1) - np.maximum(edges[:-1, None], sample)
    return (np.maximum(share, 0) * count / size).astype(np.float32)


def _between(size: int, count: int) -> np.ndarray:
    """``(size, count)``: interpolates linearly between the middles of cells, constant beyond the outer ones."""
    place = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(count)), 0).astype(np.float32)
