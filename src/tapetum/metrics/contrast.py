"""Root-mean-square contrast (Peli, JOSA A 7, 1990, equation 4). Needs no target.

Like entropy it says how a picture is, not how good it is: noise raises it. Neither direction is better.
"""

from __future__ import annotations

from tapetum.metrics.pictures import Image, check_one, grey601


def contrast_rms_gray601(enhanced: Image) -> float:
    """Standard deviation of the grey 0.299 R + 0.587 G + 0.114 B in [0, 1] of the picture rounded to 8 bit; 0..0.5."""
    check_one(enhanced)
    return float(grey601(enhanced).std() / 255)
