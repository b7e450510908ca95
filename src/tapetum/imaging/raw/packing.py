"""Mosaics and their packed planes: ``(H, W)`` to ``(4, H/2, W/2)`` and back, exactly.

Channel order of everything packed here: R, G1, B, G2, where G1 is the green of the red rows. A channel is the
sub-mosaic at the place of its colour in the file's own 2x2 pattern (as SID, ELD and ExposureDiffusion pack), so nothing
is cropped to shift one phase into another, and the inverse is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tapetum.errors import UsageError

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")  # colours of the 2x2 cell, row by row
# plane of X-Trans -> its four sites in the 6x6 cell, in reading order of a 2x2 tile; then planes of one site per 3x3
_XTRANS_TILES = (
    ((0, 0), (0, 4), (3, 1), (3, 3)),
    ((0, 2), (0, 5), (3, 2), (3, 5)),
    ((0, 1), (0, 3), (3, 0), (3, 4)),
    ((1, 2), (2, 5), (5, 2), (4, 5)),
    ((2, 2), (1, 5), (4, 2), (5, 5)),
)
_XTRANS_SITES = ((1, 0), (1, 1), (2, 0), (2, 1))


def channel_sites(pattern: str) -> tuple[tuple[int, int], ...]:
    """Row and column of R, G1, B, G2 in the 2x2 cell of ``pattern`` ("RGGB", "BGGR", "GRBG" or "GBRG").

    Raises:
        UsageError: no Bayer pattern.
    """
    if pattern not in PATTERNS:
        raise UsageError(f"a Bayer pattern must be one of {', '.join(PATTERNS)}, got {pattern!r}")
    red, blue = divmod(pattern.index("R"), 2), divmod(pattern.index("B"), 2)
    return red, (red[0], 1 - red[1]), blue, (blue[0], 1 - blue[1])


def pack_bayer(mosaic: np.ndarray, pattern: str) -> np.ndarray:
    """``(H, W)`` -> ``(4, H/2, W/2)``: R, G1, B, G2; same dtype and values. An odd last row or column is left out.

    Raises:
        UsageError: another number of dimensions, no 2x2 cell, or no Bayer pattern.
    """
    sites = channel_sites(pattern)
    if mosaic.ndim != 2 or min(mosaic.shape) < 2:
        raise UsageError(f"a mosaic must be (height, width), at least 2 x 2, got {mosaic.shape}")
    height, width = (side // 2 * 2 for side in mosaic.shape)
    return np.stack([mosaic[row:height:2, column:width:2] for row, column in sites])


def unpack_bayer(packed: np.ndarray, pattern: str) -> np.ndarray:
    """The inverse: ``(4, h, w)`` -> ``(2h, 2w)``."""
    sites = channel_sites(pattern)
    if packed.ndim != 3 or packed.shape[0] != 4:
        raise UsageError(f"a packed mosaic must be (4, height, width), got {packed.shape}")
    mosaic = np.empty((2 * packed.shape[1], 2 * packed.shape[2]), packed.dtype)
    for plane, (row, column) in zip(packed, sites, strict=True):
        mosaic[row::2, column::2] = plane
    return mosaic


def level(packed: np.ndarray, black: Sequence[float], white: float, *, clip: bool = True) -> np.ndarray:
    """Digital numbers to linear light: ``(v - black_c) / (white - black_c)`` per plane, float32; 1 is saturation.

    Args:
        packed: ``(C, h, w)``, any dtype.
        black: one per plane, or one for all.
        clip: to 0..1, as the published methods do. Unclipped, noise below black survives.

    Raises:
        UsageError: a black level that is not below white.
    """
    offset, span = _levels(packed, black, white)
    linear = packed.astype(np.float32)
    linear -= offset
    linear /= span
    return np.clip(linear, 0, 1, out=linear) if clip else linear


def unlevel(
    linear: np.ndarray, black: Sequence[float], white: float, dtype: type[np.generic] = np.uint16
) -> np.ndarray:
    """The inverse of :func:`level`; integers are rounded and clipped to their range."""
    offset, span = _levels(linear, black, white)
    values = linear.astype(np.float32)
    values *= span
    values += offset
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)  # type: ignore[type-var]
        np.clip(np.rint(values, out=values), limits.min, limits.max, out=values)
    return values.astype(dtype, copy=False)


def _levels(planes: np.ndarray, black: Sequence[float], white: float) -> tuple[np.ndarray, np.ndarray]:
    offset = np.asarray(black, np.float32).reshape(-1, 1, 1)
    if planes.ndim != 3 or len(offset) not in (1, planes.shape[0]):
        raise UsageError(f"{len(offset)} black levels do not fit planes of the shape {planes.shape}")
    if not (np.isfinite(offset).all() and (offset < white).all()):
        raise UsageError(f"black must be below white, got black {', '.join(f'{b:g}' for b in black)}, white {white:g}")
    return offset, np.float32(white) - offset


def pack_xtrans(mosaic: np.ndarray) -> np.ndarray:
    """X-Trans ``(H, W)`` -> ``(9, H/3, W/3)``, cut to multiples of 6 (top left kept); same dtype and values.

    The 6x6 cell must begin as SID's Fuji files do. Source: the packing of the SID paper's X-Trans networks.
    """
    if mosaic.ndim != 2 or min(mosaic.shape) < 6:
        raise UsageError(f"an X-Trans mosaic must be (height, width), at least 6 x 6, got {mosaic.shape}")
    height, width = (side // 6 * 6 for side in mosaic.shape)
    mosaic = mosaic[:height, :width]
    packed = np.empty((9, height // 3, width // 3), mosaic.dtype)
    for view, sites in _xtrans_views(packed):
        view[...] = mosaic[sites]
    return packed


def unpack_xtrans(packed: np.ndarray) -> np.ndarray:
    """The inverse: ``(9, h, w)`` -> ``(3h, 3w)``."""
    if packed.ndim != 3 or packed.shape[0] != 9 or packed.shape[1] % 2 or packed.shape[2] % 2:
        raise UsageError(f"a packed X-Trans mosaic must be (9, height, width) with even sides, got {packed.shape}")
    mosaic = np.empty((3 * packed.shape[1], 3 * packed.shape[2]), packed.dtype)
    for view, sites in _xtrans_views(packed):
        mosaic[sites] = view
    return mosaic


def _xtrans_views(packed: np.ndarray) -> list[tuple[np.ndarray, tuple[slice, slice]]]:
    """Parts of ``packed``, each with the strided part of the mosaic that it holds."""
    views = []
    for plane, tile in zip(packed[:5], _XTRANS_TILES, strict=True):
        for i, (row, column) in enumerate(tile):
            views.append((plane[i // 2 :: 2, i % 2 :: 2], (slice(row, None, 6), slice(column, None, 6))))
    for plane, (row, column) in zip(packed[5:], _XTRANS_SITES, strict=True):
        views.append((plane, (slice(row, None, 3), slice(column, None, 3))))
    return views
