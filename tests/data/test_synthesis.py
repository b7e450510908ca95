"""Synthetic exposures follow the physics they claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.data import synthesis
from tapetum.imaging.colour import linear_to_srgb


def test_table_is_within_half_a_level_of_the_formula():
    linear = np.linspace(0, 1, 100_001, dtype=np.float32)
    exact = linear_to_srgb(linear) * 255
    assert np.abs(synthesis.to_srgb_bytes(linear) - exact).max() <= 0.75
    assert np.array_equal(synthesis.to_srgb_bytes(synthesis.LINEAR_OF_BYTE), np.arange(256))


@pytest.mark.parametrize("level", [0.0, 0.05, 0.4])
def test_noise_has_the_variance_of_photons_and_reading(level):
    noise = synthesis.Noise(shot=1e-3, read=0.01)
    flat = np.full((200, 200, 3), level, np.float32)
    noisy = synthesis.add_noise(flat, noise, np.random.default_rng(0))
    assert noisy.mean() == pytest.approx(level, abs=5e-4)
    assert noisy.var() == pytest.approx(1e-3 * level + 1e-4, rel=0.03)


def test_blotches_correlate_neighbours():
    flat = np.full((200, 200, 3), 0.1, np.float32)
    rng = np.random.default_rng(0)
    fine = synthesis.add_noise(flat, synthesis.Noise(1e-3, 0.01), rng) - flat
    blotchy = synthesis.add_noise(flat, synthesis.Noise(1e-3, 0.01, blotch=0.8), rng) - flat

    def neighbours(x):
        return np.corrcoef(x[:, :-1].ravel(), x[:, 1:].ravel())[0, 1]

    assert abs(neighbours(fine)) < 0.02
    assert neighbours(blotchy) > 0.3


@given(stops=st.floats(0, 6), level=st.floats(0.01, 1))
def test_darkening_takes_the_stops_away(stops, level):
    flat = np.full((4, 4, 3), level, np.float32)
    dark = synthesis.darken(flat, synthesis.Darkening(stops=stops))
    np.testing.assert_allclose(dark, level * 2.0**-stops, rtol=1e-5)


def test_the_ramp_of_a_crop_is_that_of_the_whole():
    how = synthesis.Darkening(stops=1, falloff=0.6, angle=0.7)
    whole = synthesis.darken(np.ones((101, 101, 3), np.float32), how)
    part = synthesis.darken(np.ones((51, 51, 3), np.float32), how, (0.5, 0.0, 1.0, 0.5))
    np.testing.assert_allclose(part, whole[50:, :51], atol=1e-6)
    assert whole.min() < 0.3 < whole.max()
