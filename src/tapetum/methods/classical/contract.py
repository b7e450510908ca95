"""What a classical method is: two functions, and what is shared by those that work on lightness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.methods.contract import Place

Planes = NDArray[np.float32]
"""``(3, H, W)`` in [0, 1]."""
Pixels = NDArray[Any]
"""``(H, W, 1)`` or ``(H, W, 3)``: uint8, uint16, or floating in [0, 1]."""
LEVELS = 256
_STRIP = 2**18  # pixels looked at together


@dataclass(frozen=True)
class Classical:
    """A method without a network.

    Attributes:
        name: as the command line calls it.
        title: for people, with its source.
        apply: ``apply(low, analysis, place) -> enhanced``, planes ``(3, H, W)`` of the part of the picture that lies
            at ``place``; not clamped.
        analyse: ``analyse(pixels) -> analysis``, an array, from all of the picture; None: there is nothing to know, and
            ``apply`` is given an empty one.
        bytes_per_pixel: of a part, that ``apply`` takes beside it, measured.
    """

    name: str
    title: str
    apply: Callable[[Planes, NDArray[Any], Place], Planes]
    analyse: Callable[[Pixels], NDArray[Any]] | None
    bytes_per_pixel: int


def levels(pixels: Pixels) -> NDArray[np.uint8]:
    """Lightness max(R, G, B) as the nearest of 256 levels, ``(H, W, C) -> (H, W)``."""
    lightness = pixels.max(axis=2)
    if lightness.dtype == np.uint8:
        return lightness
    if lightness.dtype.kind == "u":
        return ((lightness.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.rint(np.clip(lightness, 0, 1) * 255).astype(np.uint8)


def histogram(pixels: Pixels) -> NDArray[np.int64]:
    """How many pixels have each of the 256 levels of lightness."""
    counts = np.zeros(LEVELS, np.int64)
    for strip in strips(pixels):
        counts += np.bincount(levels(strip).ravel(), minlength=LEVELS)
    return counts


def strips(pixels: Pixels) -> Iterator[Pixels]:
    """Some rows at a time, so that what is made of them is small."""
    rows = max(1, _STRIP // pixels.shape[1])
    for top in range(0, pixels.shape[0], rows):
        yield pixels[top : top + rows]


def with_lightness(low: Planes, new: NDArray[np.floating]) -> Planes:
    """``low`` with another lightness max(R, G, B) ``(H, W)``, its hue and saturation kept; black becomes grey."""
    lightness = low.max(axis=0)
    black = lightness <= 0
    enhanced = low * np.divide(new, lightness, out=np.zeros_like(lightness), where=~black)
    enhanced[:, black] = new[black]
    return enhanced
