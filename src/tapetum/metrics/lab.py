"""CIELab of 8-bit sRGB pictures, as the colour measures want it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.imaging.colour import srgb_to_linear

_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # of linear sRGB (IEC 61966-2-1, D65)
_LINEAR_OF_BYTE = srgb_to_linear(np.arange(256) / 255)


def lab_of(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """8-bit sRGB ``(H, W, 3)`` to CIELab, L in 0..100. The white is that of the matrix: greys have no chroma at all."""
    f = _root(_LINEAR_OF_BYTE[image] @ _XYZ.T / _XYZ.sum(axis=1))
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _root(t: NDArray[np.float64]) -> NDArray[np.float64]:
    delta = 6 / 29
    return np.where(t > delta**3, np.cbrt(t), t / (3 * delta**2) + 4 / 29)
