"""Boxes with names on a picture, for people."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np
import pyvips
from numpy.typing import NDArray

from tapetum.imaging import vips

_LETTERS = range(32, 127)  # scripts/make_letters.py
_THICKNESS = 0.004  # of the longer side


def draw_box(
    pixels: NDArray[np.uint8], box: Sequence[float], colour: tuple[int, int, int], text: str = "", thin: bool = False
) -> None:
    """A frame, and above its upper left corner a text, into a picture ``(H, W, 3)`` in place.

    Args:
        box: left, top, right, bottom in pixels.
        text: ASCII; other characters become question marks.
        thin: one pixel wide, whatever the picture's size.
    """
    height, width = pixels.shape[:2]
    line = 1 if thin else max(2, round(_THICKNESS * max(height, width)))
    left, right = (int(np.clip(round(x), 0, width)) for x in (box[0], box[2]))
    top, bottom = (int(np.clip(round(y), 0, height)) for y in (box[1], box[3]))
    for rows, columns in (
        (slice(top, min(top + line, bottom)), slice(left, right)),
        (slice(max(bottom - line, top), bottom), slice(left, right)),
        (slice(top, bottom), slice(left, min(left + line, right))),
        (slice(top, bottom), slice(max(right - line, left), right)),
    ):
        pixels[rows, columns] = colour
    if text:
        _write(pixels, text, top, left, colour)


def _write(pixels: NDArray[np.uint8], text: str, top: int, left: int, colour: tuple[int, int, int]) -> None:
    """A text on a coloured ground: above ``top`` where there is room, else below it."""
    letters = np.concatenate([_letters()[ord(c) - 32 if ord(c) in _LETTERS else ord("?") - 32] for c in text], axis=1)
    start = top - letters.shape[0] if top >= letters.shape[0] else top
    place = pixels[start : start + letters.shape[0], left : left + letters.shape[1]]
    part = letters[: place.shape[0], : place.shape[1], None]
    ink = 0 if sum(colour) > 3 * 110 else 255
    place[:] = np.rint(np.asarray(colour, np.float32) * (1 - part) + ink * part).astype(np.uint8)


@cache
def _letters() -> list[NDArray[np.float32]]:
    """Every printable ASCII character, ``(H, W)`` in 0..1."""
    data = (resources.files("tapetum") / "assets" / "labels" / "letters.png").read_bytes()
    strip = vips.to_array(pyvips.Image.new_from_buffer(data, "", access="sequential"))[..., 0]
    return [np.divide(cell, 255, dtype=np.float32) for cell in np.split(strip, len(_LETTERS), axis=1)]
