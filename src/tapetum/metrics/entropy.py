"""Entropy of the levels of grey (Shannon, 1948): how evenly a picture uses them. Needs no target.

It is no measure of quality: noise and false contours raise it. Neither direction is better.
"""

from __future__ import annotations

import numpy as np

from tapetum.metrics.pictures import Image, as_uint8, check_one


def entropy_gray601_uint8(enhanced: Image) -> float:
    """In bits, 0..8: of the picture rounded to 8 bit, grey 0.299 R + 0.587 G + 0.114 B rounded again, halves up."""
    check_one(enhanced)
    # whole numbers: a half is a half, whatever the order of the sum
    grey = (as_uint8(enhanced).astype(np.int64) @ np.array([299, 587, 114]) + 500) // 1000
    counts = np.bincount(grey.ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum() + 0.0)
