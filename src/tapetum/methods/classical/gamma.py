"""Gamma correction: every channel to the power 1 / 2.2, the simplest brightening there is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.methods.classical.contract import Classical, Planes
from tapetum.methods.contract import Place

EXPONENT = 1 / 2.2


def apply(low: Planes, analysis: NDArray[np.float32], place: Place) -> Planes:
    """``low ** (1 / 2.2)``."""
    return np.clip(low, 0, 1) ** np.float32(EXPONENT)


GAMMA = Classical("gamma", "Gamma 2.2", apply, None, 24)
