"""Mean and spread over pictures that come one at a time."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.imaging.moments import Moments


def added(pictures: list[np.ndarray]) -> Moments:
    moments = Moments()
    for picture in pictures:
        moments.add(picture)
    return moments


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_are_those_of_all_pictures_at_once(dtype: type) -> None:
    random = np.random.default_rng(0)
    largest = np.iinfo(dtype).max if dtype is not np.float32 else 1
    pictures = [(random.random((150, 7, 3)) * largest).astype(dtype) for _ in range(9)]
    exact = np.stack(pictures).astype(np.float64)
    moments = added(pictures)
    tolerance = 0.51 if largest > 1 else 1e-6  # rounded, from sums of float32
    assert moments.count == 9
    assert np.abs(moments.mean(dtype).astype(float) - exact.mean(0)).max() <= tolerance
    assert np.abs(moments.spread(dtype).astype(float) - exact.std(0)).max() <= tolerance
    assert moments.mean(dtype).dtype == moments.spread(dtype).dtype == dtype


def test_equal_pictures_have_no_spread() -> None:
    picture = np.random.default_rng(1).integers(0, 65535, (20, 30, 1), np.uint16)
    moments = added([picture] * 7)
    assert np.array_equal(moments.mean(np.uint16), picture)
    assert not moments.spread(np.float32).any()


def test_gain_ends_at_white() -> None:
    moments = added([np.full((2, 2, 3), value, np.uint8) for value in (0, 51)])
    assert (moments.spread("uint8", 2) == 51).all()
    assert (moments.spread("uint8", 100) == 255).all()
