"""How much brighter a RAW picture is to be: stops, a ratio, or found from the picture."""

from __future__ import annotations

import math

import numpy as np

from tapetum.errors import UsageError
from tapetum.imaging.raw.packing import pack_bayer
from tapetum.imaging.raw.picture import RawPicture

LARGEST_RATIO = 300.0  # what published methods are trained for; more shows nothing but noise
_GREY = 0.18  # where the geometric mean of a scene is put: the reflectance of the photographers' grey card
_WHITE_SHARE = 0.98  # of the blocks stay below saturation
_BLOCKS = 128  # on the longer side
_FLOOR = 1 / 4096  # darker blocks count as this: black sky and masked corners say nothing about exposure


def ev_of_ratio(ratio: float) -> float:
    """Stops of an amplification. Raises UsageError where it is not above 0."""
    if not 0 < ratio < math.inf:
        raise UsageError(f"ratio must be above 0 (1 leaves the exposure, 100 is 100 times the light), got {ratio:g}")
    return math.log2(ratio)


def automatic_ratio(raw: RawPicture) -> float:
    """The amplification, 1 to 300, that puts the scene's geometric mean on middle grey without losing its lights.

    Both are taken from means over blocks (noise has none), of white-balanced green: the mean goes to 0.18 unless that
    would drive more than 2 % of the blocks into saturation.
    """
    green = pack_bayer(raw.mosaic, raw.pattern)[1]
    size = max(1, -(-max(green.shape) // _BLOCKS))
    rows, columns = (max(1, side // size) for side in green.shape)
    blocks = green[: rows * size, : columns * size]
    blocks = blocks.reshape(rows, min(size, blocks.shape[0]), columns, min(size, blocks.shape[1]))
    light = (blocks.mean(axis=(1, 3), dtype=np.float64) - raw.black[1]) / (raw.white - raw.black[1])
    light = np.maximum(light, _FLOOR)
    wanted = _GREY / math.exp(np.log(light).mean())
    most = 1 / float(np.quantile(light, _WHITE_SHARE))
    return float(np.clip(min(wanted, most), 1.0, LARGEST_RATIO))
