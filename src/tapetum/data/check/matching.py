"""Do two pictures show one scene? Their sketches laid over each other, shifted and at many scales.

A crop shows things larger than the whole picture, as both are brought to one size. So scales are tried, in two passes:
at half the size, where steps may be wide, and, where that looks promising, at full size around the best of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tapetum.data.check.sketch import directions

SKETCH = 96  # pixels on the longer side: noise is averaged away, furniture is still there
SAME_SCENE = 0.6
"""Agreement from which two pictures show one scene. Chosen on half of the training scenes of LOL v1: docs/data.md."""
SAME_CROP = 0.68
"""The same where one shows things larger: crops agree better than pictures taken from nearer. See docs/data.md, too."""

_STEP = 1.015  # from one scale to the next; two steps beside the true one, the agreement is much lower
_ROUGH = range(0, 31, 6)  # steps tried at half the size, where twice the error is forgiven: scales up to 1.6
_PROMISING = 0.45  # agreement at half the size from which it is looked closer; few other pairs have it
_OVERLAP = 0.5  # least part of the smaller picture that the other must show
_ROOM = 4 / 3  # side of the transforms, in longer sides of a sketch: what wraps around meets little
_KEPT = 1024  # spectra in memory, of 128 KB; four times as many of half the size

_Prepared = tuple[NDArray[np.complex64], NDArray[np.complex64]]
_Prepare = Callable[[int, int], _Prepared]


@dataclass(frozen=True)
class Agreement:
    """How well two sketches lie on each other at their best.

    Attributes:
        score: mean agreement of the directions where both have edges: 1 equal, 0 unrelated.
        zoom: how much larger the first shows things than the second.
    """

    score: float
    zoom: float

    @property
    def is_same_scene(self) -> bool:
        return self.score >= (SAME_SCENE if self.zoom == 1 else SAME_CROP)


class Sketches:
    """Compares pictures by number.

    Args:
        pictures: ``(h, w)`` ranks, with ``SKETCH`` pixels on the longer side.
    """

    def __init__(self, pictures: Sequence[NDArray[np.float32]]) -> None:
        self._full = lru_cache(_KEPT)(lambda number, step: _prepare(pictures[number], 1, step))
        self._half = lru_cache(4 * _KEPT)(lambda number, step: _prepare(pictures[number], 2, step))

    def compare(self, first: int, second: int) -> Agreement:
        """Other scales are tried where the pictures do not agree at their own."""
        own = _at(self._full, first, second, 0)
        if own.is_same_scene:
            return own
        rough, near = _best(self._half, first, second, {sign * step: None for step in _ROUGH for sign in (1, -1)})
        if rough.score < _PROMISING:
            return own
        _, near = _best(self._full, first, second, range(near - 4, near + 5, 2))
        found, _ = _best(self._full, first, second, range(near - 1, near + 2))
        return max(own, found, key=lambda agreement: agreement.score)


def _best(prepare: _Prepare, first: int, second: int, steps: Iterable[int]) -> tuple[Agreement, int]:
    """The best agreement, and its step."""
    found = [(_at(prepare, first, second, step), step) for step in steps]
    return max(found, key=lambda item: item[0].score)


def _at(prepare: _Prepare, first: int, second: int, step: int) -> Agreement:
    """At one scale: the first shows things larger by ``_STEP ** step``, so it is shrunk; below 0: the second."""
    (one, spectrum), (two, spectrum2) = prepare(first, max(0, step)), prepare(second, max(0, -step))
    side = len(spectrum)
    allowed = _allowed(one.shape, two.shape, side)
    if not allowed.any():
        return Agreement(0.0, 1.0)
    correlation = np.fft.ifft2(spectrum * spectrum2.conj()).real
    down, across = divmod(int(np.where(allowed, correlation, -np.inf).argmax()), side)
    shift = down - side * (down >= one.shape[0]), across - side * (across >= one.shape[1])
    return Agreement(agreement(one, two, *shift), _STEP**step)


def _prepare(picture: NDArray[np.float32], factor: int, step: int) -> _Prepared:
    """Directions of a picture that is shrunk by ``factor * _STEP ** step``, and their spectrum."""
    field = directions(_shrunk(picture, factor * _STEP**step))
    side = round(SKETCH / factor * _ROOM)
    return field, np.fft.fft2(field, (side, side)).astype(np.complex64)


def _shrunk(picture: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """By one factor down and across, which sizes in whole pixels would not give; what is left over is cut off."""
    if factor == 1:
        return picture
    down, across = (_weights(side, factor) for side in picture.shape)
    return down @ picture @ across.T


@lru_cache(_KEPT)
def _weights(old: int, factor: float) -> NDArray[np.float32]:
    """``(new, old)``: linear interpolation, smoothed over the width of a new pixel."""
    centres = (np.arange(max(1, int(old / factor))) + 0.5) * factor - 0.5
    weights = np.clip(1 - np.abs(np.arange(old) - centres[:, None]) / factor, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def agreement(one: NDArray[np.complex64], two: NDArray[np.complex64], down: int, across: int) -> float:
    """Normalised correlation of two sketches where they overlap, the second moved by so many pixels: -1..1."""
    top, left = max(0, down), max(0, across)
    bottom, right = min(one.shape[0], two.shape[0] + down), min(one.shape[1], two.shape[1] + across)
    first = one[top:bottom, left:right]
    second = two[top - down : bottom - down, left - across : right - across]
    energies = float((np.abs(first) ** 2).sum()) * float((np.abs(second) ** 2).sum())
    return float((first * second.conj()).real.sum() / np.sqrt(energies)) if energies > 0 else 0.0


@lru_cache(_KEPT)
def _allowed(one: tuple[int, int], two: tuple[int, int], side: int) -> NDArray[np.bool_]:
    """``(side, side)``: which shifts of the second leave enough of an overlap."""
    overlaps = []
    for own, other in zip(one, two, strict=True):
        shift = np.arange(side)
        shift = shift - side * (shift >= own)
        overlaps.append(np.clip(np.minimum(own, other + shift) - np.maximum(0, shift), 0, None))
    least = _OVERLAP * min(one[0] * one[1], two[0] * two[1])
    return np.outer(*overlaps) >= least
