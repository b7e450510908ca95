"""Entropy of the levels of grey (Shannon, 1948): how evenly a picture uses them. Needs no target.

It is no measure of quality: noise and false contours raise it. Neither direction is better.
"""

from __future__ import annotations

import numpy as np

from tapetum.metrics.pictures import Image, check_one, grey601


def entropy_gray601_uint8(enhanced: Image) -> float:
    """In bits, 0..8: of the picture rounded to 8 bit, grey 0.299 R + 0.587 G + 0.114 B rounded again."""
    check_one(enhanced)
    counts = np.bincount(np.rint(grey601(enhanced)).astype(np.uint8).ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum() + 0.0)
