"""Encoding and decoding of large pictures part by part, which gives what the whole picture gives.

Features at the picture's size are what fills the memory; latents are small. So what works on features is shown one part
after the other, with all around it that it can see, and the noise predictor, which must see everything, works on the
whole latent. There are no seams, but features are computed more than once where parts overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tapetum.methods.lightendiffusion.stage1 import DECODED_RADIUS, ENCODED_RADIUS, LATENT_STRIDE, Stage1

SIDE = 96  # of a part, in positions of the latent
_SEEN_ENCODING = -(-ENCODED_RADIUS // LATENT_STRIDE)
_SEEN_DECODING = -(-DECODED_RADIUS // LATENT_STRIDE)
LARGEST = ((SIDE + 2 * _SEEN_DECODING) * LATENT_STRIDE) ** 2
"""Pixels of the largest part, with what is around it."""

Window = tuple[slice, slice]


def encode(stage1: Stage1, low: Tensor) -> Tensor:
    """``(B, 3, H, W)`` -> the latent ``(B, 3, H/8, W/8)``; see ``Stage1.encode``."""
    height, width = (side // LATENT_STRIDE for side in low.shape[2:])
    latent = low.new_empty(len(low), 3, height, width)
    for part, around, inner in _windows(height, width, _SEEN_ENCODING):
        found, _ = stage1.encode(low[_at(_in_pixels(around))])
        latent[_at(part)] = found[_at(inner)]
    return latent


def decode(stage1: Stage1, latent: Tensor, low: Tensor) -> Tensor:
    """Latent ``(B, 3, h, w)``, with the skips of the picture ``(B, 3, 8h, 8w)`` -> ``(B, 3, 8h, 8w)``."""
    enhanced = torch.empty_like(low)
    height, width = latent.shape[2:]
    for part, around, inner in _windows(height, width, _SEEN_DECODING):
        _, skips = stage1.encode(low[_at(_in_pixels(around))])
        decoded = stage1.decode(latent[_at(around)], skips)
        enhanced[_at(_in_pixels(part))] = decoded[_at(_in_pixels(inner))]
    return enhanced


def _windows(height: int, width: int, seen: int) -> Iterator[tuple[Window, Window, Window]]:
    """Parts of a latent: each part, what is around it, and the part's place in that."""
    for top in range(0, height, SIDE):
        for left in range(0, width, SIDE):
            part, around, inner = zip(_side(top, height, seen), _side(left, width, seen), strict=True)
            yield part, around, inner


def _side(start: int, length: int, seen: int) -> tuple[slice, slice, slice]:
    end, first = min(start + SIDE, length), max(start - seen, 0)
    return slice(start, end), slice(first, min(end + seen, length)), slice(start - first, end - first)


def _at(window: Window) -> tuple[Any, ...]:
    return ..., *window


def _in_pixels(window: Window) -> Window:
    rows, columns = (slice(side.start * LATENT_STRIDE, side.stop * LATENT_STRIDE) for side in window)
    return rows, columns
