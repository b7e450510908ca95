"""Mean absolute error."""

from __future__ import annotations

import numpy as np

from tapetum.metrics.pictures import Image, as_float, check


def mae(enhanced: Image, target: Image) -> float:
    """Over all pixels and channels, of pictures in [0, 1], clamped, not rounded."""
    check(enhanced, target)
    return float(np.abs(as_float(enhanced) - as_float(target)).mean())
