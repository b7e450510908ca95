"""Noise that knows its place: any part is the whole's, seeds and streams are other fields, the numbers are normal."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.ops.random import PositionNoise


def normal(seed: int, stream: int, shape: tuple[int, int, int], origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    return PositionNoise(seed, stream, origin).normal(shape).numpy()


places = st.integers(0, 90)
sides = st.integers(1, 70)


@settings(max_examples=40)
@given(places, places, sides, sides, st.integers(1, 3), st.integers(0, 2**64 - 1))
def test_a_part_is_cut_from_the_whole(top: int, left: int, height: int, width: int, channels: int, seed: int) -> None:
    whole = normal(seed, 1, (3, 160, 160))
    part = normal(seed, 1, (channels, height, width), (top, left))
    assert np.array_equal(part, whole[:channels, top : top + height, left : left + width])
    assert part.dtype == np.float32


def test_every_seed_and_stream_is_another_field() -> None:
    fields = [normal(seed, stream, (3, 64, 64)).ravel() for seed in (0, 1, 2**64 - 1) for stream in (0, 1, 999)]
    correlation = np.corrcoef(fields) - np.eye(len(fields))
    assert np.abs(correlation).max() < 5 / math.sqrt(fields[0].size)


def test_the_law_is_normal() -> None:
    """Moments and tails of 1.2 million numbers, each within five of its standard errors."""
    values = normal(5, 0, (3, 640, 640), (11, 7)).astype(np.float64).ravel()
    n = values.size
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - expected) < 5 * math.sqrt(variance / n), power
    for bound in (0.5, 1, 2, 3, 4):
        share = math.erfc(bound / math.sqrt(2))
        assert abs((np.abs(values) > bound).mean() - share) < 5 * math.sqrt(share / n), bound
    assert np.isfinite(values).all()


def test_neighbours_know_nothing_of_each_other() -> None:
    """Neither do channels, nor rows that lie a seed's or a stream's step apart."""
    field, next_seed, next_stream = (normal(seed, stream, (3, 256, 256)) for seed, stream in ((9, 0), (10, 0), (9, 1)))
    for a, b in (
        (field[:, :, 1:], field[:, :, :-1]),
        (field[:, 1:], field[:, :-1]),
        (field[:, 1:, 1:], field[:, :-1, :-1]),
        (field[0], field[1]),
        (field[1:], field[:-1]),
        (field[:, 1:], next_seed[:, :-1]),
        (field[:, :-1], next_seed[:, 1:]),
        (field[:, :, 1:], next_stream[:, :, :-1]),
        (field[:-1], next_stream[1:]),
    ):
        for power in (1, 2):
            assert abs(np.corrcoef((a**power).ravel(), (b**power).ravel())[0, 1]) < 5 / math.sqrt(a.size)


def test_a_seed_means_the_same_for_ever() -> None:
    """What a version has drawn, the next must draw: a picture can be made again."""
    expected = [1.049591, 0.5181043, 0.7526587, -0.9736816, 1.259997, -1.906649, 0.9796644, -0.2124995]
    np.testing.assert_allclose(normal(7, 2, (2, 2, 2), (31, 31)).ravel(), expected, rtol=1e-5)
