"""Do two pictures show one scene? Their sketches laid over each other, shifted and at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from tapetum.data.check.sketch import directions
from tapetum.imaging import shrink

SKETCH = 96  # pixels on the longer side: noise is averaged away, furniture is still there
SAME_SCENE = 0.6
"""Agreement from which two pictures show one scene. Chosen on half of the training scenes of LOL v1: docs/data.md."""

_SIDE = 128  # of the transforms: what wraps around meets little
_ZOOMS = (1.0, 1.25, 1.5625)  # how much nearer one of the two may be
_OVERLAP = 0.5  # least part of the smaller picture that the other must show
_KEPT = 1024  # spectra in memory, of 128 KB


@dataclass(frozen=True)
class Agreement:
    """How well two sketches lie on each other at their best.

    Attributes:
        score: mean agreement of the directions where both have edges: 1 equal, 0 unrelated.
        zoom: how much larger the first shows things than the second.
    """

    score: float
    zoom: float


class Sketches:
    """Compares pictures by number.

    Args:
        pictures: ``(h, w)`` ranks, with ``SKETCH`` pixels on the longer side.
    """

    def __init__(self, pictures: Sequence[NDArray[np.float32]]) -> None:
        self._pictures = pictures
        self._prepared = lru_cache(_KEPT)(self._prepare)

    def compare(self, first: int, second: int) -> Agreement:
        """Other scales are tried where the pictures do not agree at their own."""
        best = self._at(first, second, 0, 0)
        for level in range(1, len(_ZOOMS)):
            if best.score >= SAME_SCENE:
                break
            both = self._at(first, second, level, 0), self._at(first, second, 0, level)
            best = max(best, *both, key=lambda agreement: agreement.score)
        return best

    def _at(self, first: int, second: int, level: int, other: int) -> Agreement:
        (one, spectrum), (two, spectrum2) = self._prepared(first, level), self._prepared(second, other)
        allowed = _allowed(one.shape, two.shape)
        if not allowed.any():
            return Agreement(0.0, 1.0)
        correlation = np.fft.ifft2(spectrum * spectrum2.conj()).real
        down, across = divmod(int(np.where(allowed, correlation, -np.inf).argmax()), _SIDE)
        shift = down - _SIDE * (down >= one.shape[0]), across - _SIDE * (across >= one.shape[1])
        return Agreement(agreement(one, two, *shift), _ZOOMS[level] / _ZOOMS[other])

    def _prepare(self, number: int, level: int) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        picture = self._pictures[number]
        if level:
            height, width = (max(1, round(side / _ZOOMS[level])) for side in picture.shape)
            picture = shrink(picture[..., None], height, width)[..., 0]
        field = directions(picture)
        return field, np.fft.fft2(field, (_SIDE, _SIDE)).astype(np.complex64)


def agreement(one: NDArray[np.complex64], two: NDArray[np.complex64], down: int, across: int) -> float:
    """Normalised correlation of two sketches where they overlap, the second moved by so many pixels: -1..1."""
    top, left = max(0, down), max(0, across)
    bottom, right = min(one.shape[0], two.shape[0] + down), min(one.shape[1], two.shape[1] + across)
    first = one[top:bottom, left:right]
    second = two[top - down : bottom - down, left - across : right - across]
    energies = float((np.abs(first) ** 2).sum()) * float((np.abs(second) ** 2).sum())
    return float((first * second.conj()).real.sum() / np.sqrt(energies)) if energies > 0 else 0.0


@cache
def _allowed(one: tuple[int, int], two: tuple[int, int]) -> NDArray[np.bool_]:
    """``(_SIDE, _SIDE)``: which shifts of the second leave enough of an overlap."""
    overlaps = []
    for own, other in zip(one, two, strict=True):
        shift = np.arange(_SIDE)
        shift = shift - _SIDE * (shift >= own)
        overlaps.append(np.clip(np.minimum(own, other + shift) - np.maximum(0, shift), 0, None))
    least = _OVERLAP * min(one[0] * one[1], two[0] * two[1])
    return np.outer(*overlaps) >= least
