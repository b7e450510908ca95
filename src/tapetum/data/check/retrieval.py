"""Which pictures are worth a close look: nearest neighbours by how edge directions are spread over the picture.

A picture may show a part of what another shows, so each is compared with windows of the others as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tapetum.data.check.sketch import directions
from tapetum.imaging import shrink

NEIGHBOURS = 20
_CELLS = 6  # across and down: a shift by half a cell changes little
_DIRECTIONS = 8
_WINDOW = 1.3  # how much a window enlarges: crops of up to 1.6 times are near the whole or one of these
_PLACES = (0.0, 0.5, 1.0)  # of windows, down and across
_ROWS = 1000  # of the table of similarities at a time


def describe(rank: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(10, D)``, each of length 1: histograms of direction in cells of the picture ``(h, w)``, and of its windows."""
    field = directions(rank)
    angles = np.exp(-2j * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS).astype(np.complex64)
    histograms = np.clip((field[..., None] * angles).real, 0, None) ** 2
    views = [histograms]
    height, width = (max(1, round(side / _WINDOW)) for side in rank.shape)
    for down, across in product(_PLACES, _PLACES):
        top, left = round(down * (rank.shape[0] - height)), round(across * (rank.shape[1] - width))
        views.append(histograms[top : top + height, left : left + width])
    described = np.stack([np.sqrt(shrink(view, _CELLS, _CELLS)).ravel() for view in views])
    lengths = np.linalg.norm(described, axis=1, keepdims=True)
    return (described / np.maximum(lengths, 1e-9)).astype(np.float32, copy=False)


def neighbours(
    descriptions: NDArray[np.float32], groups: Sequence[NDArray[np.integer]], count: int = NEIGHBOURS
) -> set[tuple[int, int]]:
    """Pairs ``(i, j)``, i < j, of the ``count`` most similar of every group (such as a split) to every picture.

    Args:
        descriptions: ``(N, V, D)`` of the whole pictures (first) and of their windows.
        groups: numbers of pictures; of each group neighbours are sought apart, so that many twins in one do not hide
            those in another.
    """
    centred = np.swapaxes(descriptions - descriptions[:, 0].mean(axis=0), 0, 1)
    centred /= np.maximum(np.linalg.norm(centred, axis=2, keepdims=True), 1e-9)
    whole = centred[0]
    found: set[tuple[int, int]] = set()
    for group in groups:
        for begin in range(0, len(whole), _ROWS):
            rows = slice(begin, begin + _ROWS)
            similar = whole[rows] @ whole[group].T
            for window in centred[1:]:
                np.maximum(similar, whole[rows] @ window[group].T, out=similar)
                np.maximum(similar, window[rows] @ whole[group].T, out=similar)
            kept = min(count + 1, len(group))  # one may be the picture itself
            nearest = np.argpartition(-similar, kept - 1, axis=1)[:, :kept]
            for row, columns in enumerate(nearest, begin):
                found |= {(min(row, int(j)), max(row, int(j))) for j in group[columns] if j != row}
    return found
