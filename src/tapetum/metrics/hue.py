"""How far colours turned: a cast that a brightness correction leaves."""

from __future__ import annotations

import numpy as np

from tapetum.metrics.lab import lab_of
from tapetum.metrics.pictures import Image, as_uint8, check


def hue_shift_lab(enhanced: Image, target: Image) -> float:
    """Mean angle between the CIELab hues of two pictures rounded to 8 bit, in degrees, 0..180.

    Pixels count by the geometric mean of their chromas, for what is grey has no hue; 0 where all of either is grey.
    """
    check(enhanced, target)
    (a_1, b_1), (a_2, b_2) = (np.moveaxis(lab_of(as_uint8(image))[..., 1:], -1, 0) for image in (enhanced, target))
    turn = np.degrees(np.arctan2(np.abs(a_1 * b_2 - b_1 * a_2), a_1 * a_2 + b_1 * b_2))
    weight = np.sqrt(np.hypot(a_1, b_1) * np.hypot(a_2, b_2))
    total = float(weight.sum())
    return float((weight * turn).sum() / total) if total > 0 else 0.0
