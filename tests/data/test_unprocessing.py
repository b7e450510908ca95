"""Photographs unprocessed to clean RAW, and back."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.data.unprocessing import Development, draw_development, process, unprocess

NEUTRAL = Development(np.eye(3), 1.0, 1.0, 1.0)


def smooth(height: int = 64, width: int = 80) -> np.ndarray:
    """A smooth colourful picture without highlights, so that the mosaic loses next to nothing."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack([0.2 + 0.3 * x, 0.3 + 0.2 * y, 0.4 - 0.2 * x * y], axis=2).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_developing_gives_the_photograph_back(seed: int) -> None:
    how = draw_development(np.random.default_rng(seed))
    photograph = smooth()
    packed = unprocess(photograph, how)
    assert packed.shape == (4, 32, 40)
    assert packed.dtype == np.float32
    assert 0 <= packed.min() < packed.max() <= 1
    half = photograph.reshape(32, 2, 40, 2, 3).mean((1, 3))
    assert np.abs(process(packed, how) - half).max() < 0.01


def test_the_mosaic_is_rggb_by_colour() -> None:
    photograph = np.zeros((4, 6, 3), np.float32)
    photograph[::2, ::2, 0] = 0.5
    photograph[::2, 1::2, 1] = 0.6
    photograph[1::2, 1::2, 2] = 0.7
    photograph[1::2, ::2, 1] = 0.4
    packed = unprocess(photograph, NEUTRAL)
    assert np.allclose(packed, packed[:, :1, :1])
    red, first_green, blue, second_green = packed[:, 0, 0]
    assert blue > first_green > red > second_green > 0


def test_white_stays_nearly_white_and_the_middle_loses_its_gains() -> None:
    how = Development(np.eye(3), 2.0, 1.6, 1.25)
    white = unprocess(np.ones((2, 2, 3), np.float32), how)
    assert np.allclose(white, 1)
    grey = unprocess(np.full((2, 2, 3), 0.5, np.float32), how)[:, 0, 0]
    assert grey == pytest.approx(grey[1] * np.array([0.5, 1, 1 / 1.6, 1]), rel=1e-5)


def test_bytes_and_floats_agree_and_odd_sides_are_cut() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    how = draw_development(np.random.default_rng(1))
    from_bytes, from_floats = unprocess(levels, how), unprocess(levels / np.float32(255), how)
    assert from_bytes.shape == (4, 3, 4)
    assert np.abs(from_bytes - from_floats).max() < 1e-5


def test_draws() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_development(rng) for _ in range(300)]
    assert all(np.allclose(how.matrix.sum(1), 1) for how in drawn)
    assert all(1.9 <= how.red <= 2.4 and 1.5 <= how.blue <= 1.9 for how in drawn)
    assert np.mean([1 / how.brightness for how in drawn]) == pytest.approx(0.8, abs=0.03)
    again = draw_development(np.random.default_rng(0))
    assert np.array_equal(again.matrix, drawn[0].matrix)
