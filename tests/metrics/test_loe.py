"""The lightness order error against the definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.metrics import get, loe_low_50, loe_low_share, loe_target_50


def by_pairs(enhanced: np.ndarray, other: np.ndarray) -> float:
    """The paper's sums, written down as they are: the mean relative order difference."""
    a, b = (image.max(axis=2).ravel().astype(int) for image in (enhanced, other))
    wrong = (a[:, None] >= a[None]) != (b[:, None] >= b[None])
    return float(wrong.sum(axis=1).mean())


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 9, 256]))
def test_is_the_papers_sum(seed, levels):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, levels, (2, 9, 14, 3)).astype(np.uint8)
    expected = by_pairs(a, b)
    assert loe_low_50(a, b) == loe_target_50(a, b) == pytest.approx(expected, abs=1e-9), "too small to be shrunk"
    assert loe_low_share(a, b) == pytest.approx(expected / 126, abs=1e-9)
    assert loe_low_share(b, a) == pytest.approx(loe_low_share(a, b), abs=1e-12)


def test_a_brighter_picture_of_the_same_order_is_without_error():
    low = np.random.default_rng(0).integers(0, 100, (40, 60, 3)).astype(np.uint8)
    assert loe_low_50(low * 2, low) == loe_low_share(low * 2, low) == 0


def test_the_opposite_order():
    """Of 100 different levels every pair but a pixel with itself is wrong."""
    low = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
    assert loe_low_50(99 - low, low) == 99
    assert loe_low_share(99 - low, low) == 0.99


def test_samples_are_at_the_middles_of_cells():
    random = np.random.default_rng(1)
    a, b = random.integers(0, 256, (2, 100, 250, 3)).astype(np.uint8)
    assert loe_low_50(a, b) == pytest.approx(by_pairs(a[1::2, 1::2], b[1::2, 1::2]), abs=1e-9)
    flat = np.zeros((401, 611, 3), np.uint8)  # 50 x 76 samples
    assert loe_low_50(flat, flat) == 0


def test_is_told_apart_what_it_is_compared_with():
    low = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
    assert get("loe_low_50")(low, target=99 - low, low=low) == 0
    assert get("loe_target_50")(low, target=99 - low, low=low) == 99
    with pytest.raises(ValueError, match="loe_low_50 compares with the dark picture, and there is none"):
        get("loe_low_50")(low, low)
    with pytest.raises(ValueError, match="enhanced and low differ in size"):
        get("loe_low_50")(low, low=low[:5])
