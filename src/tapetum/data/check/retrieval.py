"""Which pictures are worth a close look: nearest neighbours by how edge directions are spread over the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tapetum.data.check.sketch import directions
from tapetum.imaging import shrink

NEIGHBOURS = 20
_CELLS = 6  # across and down: a shift by half a cell changes little
_DIRECTIONS = 8
_ROWS = 1000  # of the table of similarities at a time


def describe(rank: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(D,)`` of length 1: histograms of direction in cells of the picture ``(h, w)``."""
    field = directions(rank)
    angles = np.exp(-2j * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS).astype(np.complex64)
    histograms = np.clip((field[..., None] * angles).real, 0, None) ** 2
    described = np.sqrt(shrink(histograms, _CELLS, _CELLS)).ravel()
    return (described / max(float(np.linalg.norm(described)), 1e-9)).astype(np.float32, copy=False)


def neighbours(
    descriptions: NDArray[np.float32], groups: Sequence[NDArray[np.integer]], count: int = NEIGHBOURS
) -> set[tuple[int, int]]:
    """Pairs ``(i, j)``, i < j, of the ``count`` most similar of every group (such as a split) to every picture.

    Args:
        descriptions: ``(N, D)``.
        groups: numbers of pictures; of each group neighbours are sought apart, so that many twins in one do not hide
            those in another.
    """
    centred = descriptions - descriptions.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    found: set[tuple[int, int]] = set()
    for group in groups:
        for begin in range(0, len(centred), _ROWS):
            similar = centred[begin : begin + _ROWS] @ centred[group].T
            kept = min(count + 1, len(group))  # one may be the picture itself
            nearest = np.argpartition(-similar, kept - 1, axis=1)[:, :kept]
            for row, columns in enumerate(nearest, begin):
                found |= {(min(row, int(j)), max(row, int(j))) for j in group[columns] if j != row}
    return found
