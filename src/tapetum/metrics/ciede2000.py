"""CIEDE2000, the colour difference of the CIE, after Sharma, Wu and Dalal (Color Research and Application 30, 2005)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tapetum.metrics.lab import lab_of
from tapetum.metrics.pictures import Image, as_uint8, check

_POWER = 25.0**7


def ciede2000_uint8(enhanced: Image, target: Image) -> float:
    """Mean over the pixels of both pictures rounded to 8 bit, sRGB under D65; 0: equal, about 1: just noticeable."""
    check(enhanced, target)
    differences = (colour_difference(lab_of(as_uint8(a)), lab_of(as_uint8(b))) for a, b in _strips(enhanced, target))
    return float(sum(d.sum() for d in differences) / (enhanced.shape[0] * enhanced.shape[1]))


def colour_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of colours in CIELab ``(..., 3)``, with kL = kC = kH = 1; ``(...)``. Equation numbers are the paper's."""
    lightness_1, a_1, b_1 = np.moveaxis(first, -1, 0)
    lightness_2, a_2, b_2 = np.moveaxis(second, -1, 0)
    mean_chroma = (np.hypot(a_1, b_1) + np.hypot(a_2, b_2)) / 2  # 2, 3
    stretch = 1.5 - 0.5 * _saturating(mean_chroma)  # 1 + G of 4
    a_1, a_2 = stretch * a_1, stretch * a_2  # 5
    chroma_1, chroma_2 = np.hypot(a_1, b_1), np.hypot(a_2, b_2)  # 6
    hue_1, hue_2 = np.arctan2(b_1, a_1) % (2 * np.pi), np.arctan2(b_2, a_2) % (2 * np.pi)  # 7
    grey = chroma_1 * chroma_2 == 0
    turn = hue_2 - hue_1
    far = np.abs(turn) > np.pi  # the shorter way round the circle is the other one
    turn = np.where(far, turn - np.copysign(2 * np.pi, turn), turn)  # 10
    hue_difference = 2 * np.sqrt(chroma_1 * chroma_2) * np.sin(turn / 2)  # 11; 0 where one is grey
    total = hue_1 + hue_2
    mean_hue = np.where(far, np.where(total < 2 * np.pi, total + 2 * np.pi, total - 2 * np.pi), total) / 2
    mean_hue = np.where(grey, total, mean_hue)  # 14
    mean_lightness, mean_chroma = (lightness_1 + lightness_2) / 2, (chroma_1 + chroma_2) / 2  # 12, 13
    t = (
        1
        - 0.17 * np.cos(mean_hue - np.radians(30))
        + 0.24 * np.cos(2 * mean_hue)
        + 0.32 * np.cos(3 * mean_hue + np.radians(6))
        - 0.20 * np.cos(4 * mean_hue - np.radians(63))
    )  # 15
    blue = np.radians(30) * np.exp(-(((np.degrees(mean_hue) - 275) / 25) ** 2))  # 16
    rotation = -2 * _saturating(mean_chroma) * np.sin(2 * blue)  # 17, 21
    off_middle = (mean_lightness - 50) ** 2
    lightness = (lightness_2 - lightness_1) / (1 + 0.015 * off_middle / np.sqrt(20 + off_middle))  # 18
    chroma = (chroma_2 - chroma_1) / (1 + 0.045 * mean_chroma)  # 19
    hue = hue_difference / (1 + 0.015 * mean_chroma * t)  # 20
    square = lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue  # 22
    return np.sqrt(np.maximum(square, 0))


def _saturating(chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    power = chroma**7
    return np.sqrt(power / (power + _POWER))


def _strips(enhanced: Image, target: Image, pixels: int = 2**14) -> Iterator[tuple[Image, Image]]:
    """Some rows of both at a time: their planes stay in the processor's cache, and memory is flat."""
    rows = max(1, pixels // enhanced.shape[1])
    for top in range(0, enhanced.shape[0], rows):
        yield enhanced[top : top + rows], target[top : top + rows]
