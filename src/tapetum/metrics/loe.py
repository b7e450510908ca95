"""LOE, the lightness order error of Wang, Zheng, Hu and Li (IEEE TIP 2013): does what was brighter stay brighter?

Of every pair of pixels it is asked which is the lighter, in the enhanced picture and in the one it is compared with;
lightness is the largest of R, G and B, "not darker than" the relation. Both pictures are rounded to 8 bit, so that a
table of how often each two levels meet has all that the pairs can say: no pair is gone through, and the whole picture
can be measured. Papers differ in what they compare with, and in how they shrink the pictures:

* ``loe_low_50``: with the dark picture, of samples, the shorter side having 50: for each the number of others whose
  order is wrong, and the mean of that. Its scale is the paper's; it depends on the picture's shape.
* ``loe_target_50``: the same, with the target instead of the dark picture (LIME, IEEE TIP 2017).
* ``loe_low_share``: of all pixels; the share of pairs whose order is wrong, 0..1.

The paper does not say how its pictures are shrunk; here samples are taken at the middles of equal cells, not averaged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.metrics.pictures import Image, as_uint8, check

SHORTER_SIDE = 50
_LEVELS = 256


def loe_low_50(enhanced: Image, low: Image) -> float:
    """Against the dark picture, 50 samples to the shorter side (all pixels of a smaller one); lower is better."""
    check(enhanced, low, "low")
    return _wrong_pairs(_sampled(_lightness(enhanced)), _sampled(_lightness(low)))


def loe_target_50(enhanced: Image, target: Image) -> float:
    """Against the target, 50 samples to the shorter side (all pixels of a smaller one); lower is better."""
    check(enhanced, target)
    return _wrong_pairs(_sampled(_lightness(enhanced)), _sampled(_lightness(target)))


def loe_low_share(enhanced: Image, low: Image) -> float:
    """Against the dark picture, the share of all pairs of pixels; lower is better."""
    check(enhanced, low, "low")
    a = _lightness(enhanced)
    return _wrong_pairs(a, _lightness(low)) / a.size


def _lightness(image: Image) -> NDArray[np.uint8]:
    return as_uint8(image).max(axis=2)


def _sampled(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    cell = max(1.0, min(plane.shape) / SHORTER_SIDE)
    rows, columns = (
        ((np.arange(round(side / cell)) + 0.5) * side / round(side / cell)).astype(int) for side in plane.shape
    )
    return plane[np.ix_(rows, columns)]


def _wrong_pairs(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """For a pixel, the mean number of pixels to which its order in ``a`` is not that in ``b``."""
    together = np.bincount(_LEVELS * a.ravel().astype(np.int64) + b.ravel(), minlength=_LEVELS**2)
    together = together.reshape(_LEVELS, _LEVELS)
    # "x is not darker than y" differs where y is lighter than x in one picture and is not in the other: counted are the
    # ordered pairs with one strictly darker in a and not in b, and those with one strictly darker in b and not in a
    darker_a = np.cumsum(together, axis=0) - together
    darker_both = np.cumsum(darker_a, axis=1) - darker_a
    one_way = int((together * (darker_a.sum(axis=1, keepdims=True) - darker_both)).sum())
    darker_b = np.cumsum(together, axis=1) - together
    other_way = int((together * (darker_b.sum(axis=0, keepdims=True) - darker_both)).sum())
    return (one_way + other_way) / a.size
