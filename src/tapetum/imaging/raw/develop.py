"""Development: from a mosaic to an upright sRGB picture of 16 bits.

Levels, white balance, clipping at saturation, demosaicing, exposure, camera matrix, clipping, sRGB's tone curve, in
this order, strip by strip. White balance is scaled so that its smallest gain is 1: where the sensor is
saturated all three colours are then at the clipping point or above, so burnt highlights are white, never magenta.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import numpy as np

from tapetum.errors import InputError
from tapetum.imaging.colour import linear_to_srgb
from tapetum.imaging.picture import Picture
from tapetum.imaging.raw.colour import camera_to_srgb
from tapetum.imaging.raw.demosaic import MARGIN, demosaic_interior
from tapetum.imaging.raw.exposure import automatic_ratio, ratio_of_light
from tapetum.imaging.raw.options import ev_of_ratio
from tapetum.imaging.raw.packing import channel_sites
from tapetum.imaging.raw.picture import RawPicture, upright
from tapetum.imaging.raw.shot import Shot

_STRIP_ROWS = 64  # of LibRaw's pictures
_STRIP = 1 << 18  # pixels developed at once: their planes stay in the cache
_CURVE_STEPS = 65535


def develop(raw: RawPicture, ev: float | Literal["auto"] = 0.0) -> Picture:
    """An upright sRGB picture ``(H, W, 3)`` uint16.

    Args:
        ev: stops by which the linear light is brighter, or "auto" (:func:`automatic_ratio`).
    """
    stops = stops_of(raw, ev)
    gains = np.asarray(raw.white_balance, np.float32) / min(raw.white_balance)
    matrix = (camera_to_srgb(raw.matrix) * 2.0**stops).astype(np.float32)
    pixels = np.empty((raw.height, raw.width, 3), np.uint16)
    for rows, strip in camera_strips(raw, gains, clip=True):
        # overshoot of the demosaicing would tint the edges of burnt highlights
        np.minimum(strip, 1, out=strip)
        pixels[rows] = tone(strip @ matrix.T)
    return _picture(upright(pixels, raw.orientation), raw.shot)


def develop_linear(pixels: np.ndarray, shot: Shot, ev: float | Literal["auto"] = 0.0) -> Picture:
    """The rest of a development that LibRaw began: exposure and tone curve.

    Args:
        pixels: upright linear sRGB ``(H, W, 3)`` uint16; overwritten.
    """
    stops = ev_of_ratio(ratio_of_light(pixels[..., 1], 0, 65535)) if ev == "auto" else float(ev)
    factor = np.float32(2.0**stops / 65535)
    for top in range(0, len(pixels), _STRIP_ROWS):
        strip = pixels[top : top + _STRIP_ROWS]
        strip[...] = tone(strip * factor)
    return _picture(pixels, shot)


def stops_of(raw: RawPicture, ev: float | Literal["auto"]) -> float:
    """Stops; for "auto" those that suit the picture."""
    return ev_of_ratio(automatic_ratio(raw)) if ev == "auto" else float(ev)


def _picture(pixels: np.ndarray, shot: Shot) -> Picture:
    metadata: dict[str, Any] = {} if shot.exif is None else {"exif-data": shot.exif}
    return Picture(pixels, format="raw", metadata=metadata)


def camera_strips(raw: RawPicture, gains: np.ndarray, *, clip: bool) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the picture and their demosaiced colours ``(rows, W, 3)`` float32: linear, times ``gains`` (R, G, B).

    Args:
        clip: saturated samples at 1 before demosaicing. Otherwise they reach the gains.
    """
    height, width = raw.mosaic.shape
    if min(height, width) < 4:
        raise InputError(f"a mosaic of {width} x {height} is too small to be developed (4 x 4 is the least)")
    scale, offset = _cell(raw, gains)
    step = max(4, _STRIP // width // 2 * 2)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        if height - bottom < 4:  # a strip must hold its own reflection
            bottom = height
        above, below = min(MARGIN, top), min(MARGIN, height - bottom)
        light = raw.mosaic[top - above : bottom + below].astype(np.float32)
        for row in (0, 1):
            for column in (0, 1):
                part = light[row::2, column::2]
                part -= offset[row, column]
                part *= scale[row, column]
        if clip:
            np.minimum(light, 1, out=light)
        padded = np.pad(light, ((MARGIN - above, MARGIN - below), (MARGIN, MARGIN)), mode="reflect")
        yield slice(top, bottom), demosaic_interior(padded, raw.pattern)
        if bottom == height:
            return


def _cell(raw: RawPicture, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factor and black level of each site of the 2x2 cell."""
    scale, offset = np.empty((2, 2), np.float32), np.empty((2, 2), np.float32)
    for channel, site in enumerate(channel_sites(raw.pattern)):
        offset[site] = raw.black[channel]
        scale[site] = gains[(0, 1, 2, 1)[channel]] / (raw.white - raw.black[channel])
    return scale, offset


def tone(linear: np.ndarray) -> np.ndarray:
    """Linear sRGB (clipped to 0..1; overwritten) -> sRGB in 16 bits.

    By a table over the square root, which is about as steep as the curve everywhere: no result is further than one step
    of 65535 from the exact one.
    """
    np.clip(linear, 0, 1, out=linear)
    np.sqrt(linear, out=linear)
    linear *= _CURVE_STEPS
    linear += 0.5
    return _curve()[linear.astype(np.uint16)]


@cache
def _curve() -> np.ndarray:
    roots = np.arange(_CURVE_STEPS + 1) / _CURVE_STEPS
    return np.rint(linear_to_srgb(roots**2) * 65535).astype(np.uint16)
