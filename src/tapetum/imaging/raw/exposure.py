"""How much brighter a RAW picture is to be: found from the picture."""

from __future__ import annotations

import math

import numpy as np

from tapetum.imaging.raw.packing import pack_bayer
from tapetum.imaging.raw.picture import RawPicture

LARGEST_RATIO = 300.0  # what published methods are trained for; more shows nothing but noise
_GREY = 0.18  # where the geometric mean of a scene is put: the reflectance of the photographers' grey card
_WHITE_SHARE = 0.98  # of the blocks stay below saturation
_BLOCKS = 32  # on the longer side
_FLOOR = 1 / 4096  # darker blocks count as this: black sky and masked corners say nothing about exposure


def automatic_ratio(raw: RawPicture) -> float:
    """The amplification, 1 to 300, that suits the picture (:func:`ratio_of_light`, of its green)."""
    green = pack_bayer(raw.mosaic, raw.pattern)[1]
    return ratio_of_light(green, raw.black[1], raw.white)


def ratio_of_light(light: np.ndarray, black: float, white: float) -> float:
    """The amplification, 1 to 300, that puts a scene's geometric mean on middle grey without losing its lights.

    Both are taken from means over blocks, where noise has gone: the mean goes to 0.18 unless that would drive more than
    2 % of the blocks into saturation.

    Args:
        light: one linear channel ``(H, W)``; black and white: its levels.
    """
    size = max(1, -(-max(light.shape) // _BLOCKS))
    tall, wide = (min(size, side) for side in light.shape)
    rows, columns = light.shape[0] // tall, light.shape[1] // wide
    blocks = (
        light[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide).mean(axis=(1, 3), dtype=np.float64)
    )
    blocks = np.maximum((blocks - black) / (white - black), _FLOOR)
    wanted = _GREY / math.exp(np.log(blocks).mean())
    most = 1 / float(np.quantile(blocks, _WHITE_SHARE))
    return float(np.clip(min(wanted, most), 1.0, LARGEST_RATIO))
