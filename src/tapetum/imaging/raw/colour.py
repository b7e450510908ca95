"""From the camera's colours to sRGB, by its one matrix (XYZ of D65 to camera, as DNG and LibRaw keep it)."""

from __future__ import annotations

import numpy as np

from tapetum.errors import UsageError

# Linear sRGB to XYZ of its white point D65 (IEC 61966-2-1)
SRGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])


def camera_to_srgb(matrix: np.ndarray | None) -> np.ndarray:
    """White-balanced camera colours to linear sRGB, ``(3, 3)`` float64; each row sums to 1, so white stays white.

    With A the XYZ -> camera matrix and X that of sRGB -> XYZ: the rows of A X divided by their sums, inverted.

    Args:
        matrix: A, ``(3, 3)``; None: the camera's colours are taken for sRGB's.

    Raises:
        UsageError: a matrix without an inverse.
    """
    if matrix is None:
        return np.eye(3)
    direct = np.asarray(matrix, np.float64) @ SRGB_TO_XYZ
    sums = direct.sum(axis=1, keepdims=True)
    if not (np.isfinite(direct).all() and np.abs(sums).min() > 1e-6 and np.abs(np.linalg.det(direct / sums)) > 1e-6):
        raise UsageError("the camera's colour matrix has no inverse")
    return np.linalg.inv(direct / sums)


def camera_matrix(to_srgb: np.ndarray, daylight: np.ndarray) -> np.ndarray | None:
    """XYZ -> camera from LibRaw's camera -> sRGB matrix and daylight multipliers, or None where it knows none.

    LibRaw leaves its XYZ matrix empty where a DNG brings its own; these two hold the same.
    """
    if not np.any(to_srgb) or not np.all(daylight > 0) or np.abs(np.linalg.det(to_srgb)) < 1e-9:
        return None
    return np.linalg.inv(to_srgb) / daylight[:, None] @ np.linalg.inv(SRGB_TO_XYZ)
