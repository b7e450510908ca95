"""LIME (Guo, Li and Ling, IEEE TIP 2017): every pixel is divided by a smoothed map of max(R, G, B), its illumination.

The map keeps the edges of large things and loses those of texture: it is the solution of one sparse linear system (the
paper's sped-up solver, with its weighting strategy III). Then it is raised to the power 0.8. The paper's
own denoising step (BM3D) is left out. Pictures whose longer side is beyond 600 have their map made from a smaller
version, and stretched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.imaging.resize import shrink
from tapetum.methods.classical.contract import Classical, Pixels, Planes
from tapetum.methods.classical.smoothing import solve
from tapetum.methods.contract import Place

SMOOTHNESS, GAMMA, TINY = 0.15, 0.8, 1e-3  # alpha, gamma and epsilon
SIGMA, RADIUS = 2.0, 2  # of the window over which a gradient counts as texture
LONGER_SIDE = 600

_TAPS = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
_TAPS /= _TAPS.sum()


def analyse(pixels: Pixels) -> NDArray[np.float32]:
    """The illumination to divide by, ``(h, w)``."""
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGER_SIDE / max(height, width))
    small = shrink(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    initial = np.clip(small.max(axis=2).astype(np.float64) / peak, 0, 1)
    return (np.clip(refined(initial), 0, 1) ** GAMMA + TINY).astype(np.float32)


def refined(initial: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map ``(h, w)`` that is near the lightness ``initial``, and smooth: the paper's sped-up problem."""
    return solve(initial, *(_weights(initial, axis) for axis in (0, 1)))


def _weights(initial: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """How strongly neighbours along ``axis`` are held together: little across an edge, most where texture cancels."""
    gradient = np.diff(initial, axis=axis)
    mean = _blurred(_blurred(gradient, 0), 1)
    return SMOOTHNESS / ((np.abs(mean) + TINY) * (np.abs(gradient) + TINY))


def _blurred(plane: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    if not plane.size:
        return plane
    widths = [(RADIUS, RADIUS) if a == axis else (0, 0) for a in (0, 1)]
    padded = np.pad(plane, widths, mode="edge")
    blurred = np.zeros_like(plane)
    for i, tap in enumerate(_TAPS):
        blurred += tap * padded.take(range(i, i + plane.shape[axis]), axis)
    return blurred


def apply(low: Planes, analysis: NDArray[np.float32], place: Place) -> Planes:
    """``low`` divided by the map, stretched bilinearly to the picture where it is smaller."""
    rows = _positions(place.top, low.shape[1], place.height, analysis.shape[0])
    columns = _positions(place.left, low.shape[2], place.width, analysis.shape[1])
    return low / _mixed(_mixed(analysis, *rows, axis=0), *columns, axis=1)


def _positions(start: int, count: int, side: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of rows (or columns) of the picture: the sample of the map before it, and how far behind that it is."""
    position = np.clip((np.arange(start, start + count) + 0.5) * length / side - 0.5, 0, length - 1)
    before = np.minimum(position.astype(np.int64), max(length - 2, 0))
    return before, (position - before).astype(np.float32)


def _mixed(
    plane: NDArray[np.float32], before: NDArray[np.int64], share: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    behind = np.minimum(before + 1, plane.shape[axis] - 1)
    share = share[:, None] if axis == 0 else share
    first, second = plane.take(before, axis), plane.take(behind, axis)
    return (first + (second - first) * share).astype(np.float32, copy=False)


LIME = Classical("lime", "LIME (IEEE TIP 2017), without its denoising", apply, analyse, 24)
