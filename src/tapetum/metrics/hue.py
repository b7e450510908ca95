"""How far colours turned: a cast that a brightness correction leaves."""

from __future__ import annotations

import numpy as np

from tapetum.metrics.lab import lab_of
from tapetum.metrics.pictures import Image, as_uint8, check

_GREY = 1e-6  # chroma of rounding errors: a level in one channel makes more than 0.1


def hue_shift_lab(enhanced: Image, target: Image) -> float:
    """Mean angle between the CIELab hues of two pictures rounded to 8 bit, in degrees, 0..180.

    Pixels count by the geometric mean of their chromas, for what is grey has no hue; 0 where all of either is grey.
    """
    check(enhanced, target)
    (a_1, b_1), (a_2, b_2) = (np.moveaxis(lab_of(as_uint8(image))[..., 1:], -1, 0) for image in (enhanced, target))
    turn = np.degrees(np.arctan2(np.abs(a_1 * b_2 - b_1 * a_2), a_1 * a_2 + b_1 * b_2))
    chromas = np.hypot(a_1, b_1), np.hypot(a_2, b_2)
    weight = np.sqrt(chromas[0] * chromas[1])
    weight[np.minimum(*chromas) < _GREY] = 0
    total = float(weight.sum())
    return float((weight * turn).sum() / total) if total > 0 else 0.0
