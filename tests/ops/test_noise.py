"""The noise field: any part is the whole's, seeds and samples are other fields, and the numbers are normal."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.ops.noise import normal_field, normal_vector

places = st.integers(0, 90)
sides = st.integers(1, 70)


@settings(max_examples=40)
@given(places, places, sides, sides, st.integers(1, 3), st.integers(0, 2**64 - 1))
def test_a_part_is_cut_from_the_whole(top: int, left: int, height: int, width: int, channels: int, seed: int) -> None:
    whole = normal_field(seed, 1, 3, 0, 0, 160, 160)
    part = normal_field(seed, 1, channels, top, left, height, width)
    assert np.array_equal(part, whole[:channels, top : top + height, left : left + width])
    assert part.dtype == np.float32


def test_far_away_costs_nothing_and_is_other_noise() -> None:
    tracemalloc.start()
    far = normal_field(0, 0, 3, 10**6, 10**6 + 7, 40, 40)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    assert not np.isin(far, normal_field(0, 0, 3, 0, 0, 40, 40)).mean() > 0.01


def test_every_seed_and_sample_is_another_field() -> None:
    fields = [
        normal_field(seed, sample, 3, 0, 0, 64, 64).ravel() for seed in (0, 1, 2**64 - 1) for sample in (0, 1, 2**32)
    ]
    correlation = np.corrcoef(fields) - np.eye(len(fields))
    assert np.abs(correlation).max() < 5 / math.sqrt(fields[0].size)


def test_the_law_is_normal() -> None:
    """Moments and tails of 1.2 million numbers, each within five of its standard errors."""
    values = normal_field(5, 0, 3, 11, 7, 640, 640).astype(np.float64).ravel()
    n = values.size
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - expected) < 5 * math.sqrt(variance / n), power
    for bound in (0.5, 1, 2, 3, 4):
        share = math.erfc(bound / math.sqrt(2))
        assert abs((np.abs(values) > bound).mean() - share) < 5 * math.sqrt(share / n), bound
    assert np.isfinite(values).all()


def test_neighbours_know_nothing_of_each_other() -> None:
    """Also across the border of two blocks, from channel to channel, and between the two halves of a transform."""
    field = normal_field(9, 0, 3, 0, 0, 256, 256)
    for a, b in (
        (field[:, :, 1:], field[:, :, :-1]),
        (field[:, 1:], field[:, :-1]),
        (field[0], field[1]),
        (field[:, :, 32:], field[:, :, :-32]),
        (field[:, 16:], field[:, :-16]),
        (field[:, 31::32], np.roll(field, -1, 1)[:, 31::32]),
    ):
        for power in (1, 2):
            assert abs(np.corrcoef((a**power).ravel(), (b**power).ravel())[0, 1]) < 5 / math.sqrt(a.size)


def test_a_seed_means_the_same_for_ever() -> None:
    """What a version has drawn, the next must draw: a picture can be made again."""
    expected = [0.46068749, -0.10576531, -0.63066518, -1.1768019, -1.6705232, 0.075264417, -0.46748111, 1.4887544]
    np.testing.assert_allclose(normal_field(7, 2, 2, 31, 31, 2, 2).ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 512])
def test_vectors(length: int) -> None:
    assert np.array_equal(normal_vector(3, 1, 512)[:length], normal_vector(3, 1, length))
    assert np.unique(normal_vector(3, 1, 512)).size == 512
