"""UIQM, the underwater image quality measure of Panetta, Gao and Agaian (IEEE JOE 2016). Needs no target.

Programs differ in the arithmetic of the contrast (the paper's PLIP operators, or plain as here), in the blocks and in
what becomes of those that do not fit: compare figures of one program only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tapetum.metrics.pictures import Image, as_uint8, check_one

# of the paper: colourfulness, sharpness, contrast; then the two terms of colourfulness, and the channels of sharpness
COLOURFULNESS, SHARPNESS, CONTRAST = 0.0282, 0.2953, 3.5753
MEAN, DEVIATION = -0.0268, 0.1586
CHANNELS = (0.299, 0.587, 0.114)
TRIMMED = 0.1
BLOCK = 10


def uiqm_plain(enhanced: Image) -> float:
    """On the 8-bit picture ``(H, W, 3)``, plain arithmetic, blocks of 10 x 10, incomplete ones left out; higher is
    better. ``0.0282`` :func:`uicm` ``+ 0.2953`` :func:`uism` ``+ 3.5753`` :func:`uiconm`.

    Raises:
        ValueError: a side is shorter than a block.
    """
    check_one(enhanced)
    if min(enhanced.shape[:2]) < BLOCK:
        height, width = enhanced.shape[:2]
        raise ValueError(f"UIQM needs pictures of at least {BLOCK} x {BLOCK}, got {height} x {width}")
    image = as_uint8(enhanced).astype(np.float64)
    return COLOURFULNESS * uicm(image) + SHARPNESS * uism(image) + CONTRAST * uiconm(image)


def uicm(image: NDArray[np.float64]) -> float:
    """Colourfulness of ``(H, W, 3)`` in 0..255: ``-0.0268 sqrt(m1^2 + m2^2) + 0.1586 sqrt(v1 + v2)`` for the planes
    ``R - G`` and ``(R + G) / 2 - B``; m is the mean without the lowest and the highest tenth of the pixels (rounded up
    and down), v the mean over all of ``(x - m)^2``.
    """
    red, green, blue = (image[..., c].ravel() for c in range(3))
    mean, variance = 0.0, 0.0
    for plane in (red - green, (red + green) / 2 - blue):
        lowest, highest = math.ceil(TRIMMED * len(plane)), math.floor(TRIMMED * len(plane))
        m = np.sort(plane)[lowest : len(plane) - highest].mean()
        mean += m**2
        variance += np.square(plane - m).mean()
    return float(MEAN * math.sqrt(mean) + DEVIATION * math.sqrt(variance))


def uism(image: NDArray[np.float64]) -> float:
    """Sharpness of ``(H, W, 3)`` in 0..255: per channel the mean over blocks of ``2 ln(max / min)`` of the Sobel
    magnitude times the channel, 0 for a block with minimum 0; then ``0.299 R + 0.587 G + 0.114 B``.
    """
    return sum(weight * _eme(_sobel(image[..., c]) * image[..., c]) for c, weight in enumerate(CHANNELS))


def uiconm(image: NDArray[np.float64]) -> float:
    """Contrast of ``(H, W, 3)`` in 0..255: the mean over blocks of ``-t ln t``, ``t = (max - min) / (max + min)`` of
    the intensity ``(R + G + B) / 3``; 0 where t is.
    """
    blocks = _blocks(image.mean(axis=2))
    top, bottom = blocks.max(axis=1), blocks.min(axis=1)
    t = np.divide(top - bottom, top + bottom, out=np.zeros_like(top), where=top > 0)
    return float(-(t * np.log(t, out=np.zeros_like(t), where=t > 0)).mean())


def _eme(plane: NDArray[np.float64]) -> float:
    blocks = _blocks(plane)
    top, bottom = blocks.max(axis=1), blocks.min(axis=1)
    ratio = np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0)
    return float(2 * np.log(ratio).mean())


def _blocks(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(H, W)`` to ``(blocks, 100)``."""
    rows, columns = (side // BLOCK for side in plane.shape)
    whole = plane[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return whole.swapaxes(1, 2).reshape(rows * columns, BLOCK * BLOCK)


def _sobel(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradient magnitude, edges repeated."""
    p = np.pad(plane, 1, mode="edge")
    down, across = p[2:] - p[:-2], p[:, 2:] - p[:, :-2]
    return np.hypot(down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:], across[:-2] + 2 * across[1:-1] + across[2:])
