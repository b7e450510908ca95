"""Synthetic exposures follow the physics they claim."""

import dataclasses

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


def test_backlight_by_hand():
    """In the middle of the ellipse the shadow has its full depth, far from it the background its full gain."""
    linear = np.full((101, 101, 3), 0.25, np.float32)
    how = synthesis.Backlight(stops=3, gain=1, radii=(0.3, 0.3), softness=0.02, veil=0.01)
    lit = synthesis.backlight(linear, how)
    assert lit[50, 50] == pytest.approx(0.25 / 8 + 0.01, rel=1e-4)
    assert lit[0, 0] == pytest.approx(0.5, rel=1e-4)
    assert lit[50, 80] == pytest.approx(0.25 * 2**-1 + 0.005, rel=1e-2)  # on the outline: half of both, in stops
    assert lit.dtype == np.float32


def test_bright_pixels_count_as_background():
    linear = np.full((9, 9, 3), 0.02, np.float32)
    linear[:, 5:] = 0.9
    plain = synthesis.Backlight(stops=4, centre=(0.5, 0.5), radii=(5, 5), softness=0.1)
    lit = synthesis.backlight(linear, plain) / linear
    assert lit == pytest.approx(np.full_like(lit, 2**-4), rel=1e-2)
    lit = synthesis.backlight(linear, dataclasses.replace(plain, by_light=2.0)) / linear
    assert lit[:, :5] == pytest.approx(np.full_like(lit[:, :5], 2**-4), rel=1e-2)
    assert lit[:, 5:].min() > 0.9


@given(seed=st.integers(0, 2**32 - 1))
def test_backlight_is_within_its_bounds_and_windows_agree(seed):
    rng = np.random.default_rng(seed)
    how = synthesis.draw_backlight(rng, (1.5, 4.0))
    assert how == synthesis.draw_backlight(np.random.default_rng(seed), (1.5, 4.0))
    linear = rng.random((41, 33, 3), np.float32)
    lit = synthesis.backlight(linear, how)
    assert (lit >= linear * 2.0**-how.stops * 0.999).all()
    assert (lit <= linear * 2.0**how.gain * 1.001 + how.veil).all()
    part = synthesis.backlight(linear[10:31, 8:25], how, (10 / 40, 8 / 32, 30 / 40, 24 / 32))
    np.testing.assert_allclose(part, lit[10:31, 8:25], rtol=1e-3, atol=1e-5)
