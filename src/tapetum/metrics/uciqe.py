"""UCIQE, the underwater colour image quality evaluation of Yang and Sowmya (IEEE TIP 2015). Needs no target.

Programs differ in the scale of Lab, in what saturation is (here chroma by the length of chroma and lightness, others:
by lightness alone) and in whether contrast is taken between means or percentiles: compare figures of one program only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tapetum.metrics.lab import lab_of
from tapetum.metrics.pictures import Image, as_uint8, check_one

# of the paper's equation 9: deviation of chroma, contrast of lightness, mean saturation
CHROMA, CONTRAST, SATURATION = 0.4680, 0.2745, 0.2576


def uciqe_lab100(enhanced: Image) -> float:
    """On the 8-bit picture ``(H, W, 3)``, with CIELab (D65) divided by 100; higher is better.

    ``0.4680 deviation of chroma + 0.2745 contrast of lightness + 0.2576 mean saturation``: the population's standard
    deviation; the mean of the brightest hundredth of the pixels (at least one) less that of the darkest; the mean of
    ``C / sqrt(C^2 + L^2)``, 0 for black.
    """
    check_one(enhanced)
    lab = lab_of(as_uint8(enhanced)) / 100
    lightness, chroma = lab[..., 0].ravel(), np.hypot(lab[..., 1], lab[..., 2]).ravel()
    length = np.hypot(chroma, lightness)
    saturation = np.divide(chroma, length, out=np.zeros_like(length), where=length > 0)
    return float(CHROMA * chroma.std() + CONTRAST * _contrast(lightness) + SATURATION * saturation.mean())


def _contrast(lightness: NDArray[np.float64]) -> float:
    share = math.ceil(len(lightness) / 100)
    ordered = np.partition(lightness, (share - 1, len(lightness) - share))
    return float(ordered[len(lightness) - share :].mean() - ordered[:share].mean())
