"""Packed linear RAW as sRGB, in the way that the RAW denoising papers look at their pictures (ELD, ExposureDiffusion).

Plain on purpose: half size, no demosaicing. Photographs are developed by ``tapetum.imaging.raw``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.floating]

_GAMMA = 2.2


def packed_to_srgb(
    packed: Planes,
    white_balance: NDArray[np.floating],
    matrix: NDArray[np.floating],
    curve: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
) -> NDArray[np.float32]:
    """White balance, clip, mean of the greens, camera matrix, clip, tone curve.

    Args:
        packed: ``(4, h, w)`` R, G1, B, G2 in [0, 1].
        white_balance: the camera's multipliers of R, G1, B, G2; by the second all are divided. A fourth of 0 is the
            second.
        matrix: ``(3, 3)``, camera to linear sRGB.
        curve: a camera's response instead of gamma 2.2: the light ``(n,)``, rising, and the values ``(3, n)`` that R, G
            and B have there; between, straight lines.

    Returns:
        ``(3, h, w)`` in [0, 1], not rounded (:func:`truncated`).
    """
    multipliers = np.asarray(white_balance, np.float64)
    multipliers = np.where(multipliers == 0, multipliers[1], multipliers) / multipliers[1]
    balanced = np.clip(packed * multipliers[:, None, None], 0, 1)
    camera = np.stack([balanced[0], (balanced[1] + balanced[3]) / 2, balanced[2]])
    linear = np.clip(np.tensordot(np.asarray(matrix, np.float64), camera, 1), 0, 1)
    if curve is None:
        return (np.maximum(linear, 1e-8) ** (1 / _GAMMA)).astype(np.float32)
    light, values = curve
    return np.stack([np.interp(plane, light, value) for plane, value in zip(linear, values, strict=True)]).astype(
        np.float32
    )


def truncated(picture: Planes) -> NDArray[np.float32]:
    """To 8 bit as published: cut off, not rounded, so that white may come out as 254. In [0, 1]."""
    return (np.floor(picture * 255) / 255).astype(np.float32)
