"""Packing: where each colour goes, and exactly back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.errors import UsageError
from tapetum.imaging.raw import level, pack_bayer, pack_xtrans, unlevel, unpack_bayer, unpack_xtrans
from tapetum.imaging.raw.packing import PATTERNS, channel_sites


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("RGGB", [[0, 1], [3, 2]]),
        ("BGGR", [[2, 3], [1, 0]]),
        ("GRBG", [[1, 0], [2, 3]]),
        ("GBRG", [[3, 2], [0, 1]]),
    ],
)
def test_channels_lie_where_their_colour_is(pattern: str, expected: list[list[int]]) -> None:
    mosaic = np.tile(np.array(expected, np.uint16), (3, 5))
    packed = pack_bayer(mosaic, pattern)
    assert packed.shape == (4, 3, 5)
    for channel, plane in enumerate(packed):
        assert (plane == channel).all()
    sites = channel_sites(pattern)
    assert [pattern[2 * row + column] for row, column in sites] == ["R", "G", "B", "G"]
    assert sites[0][0] == sites[1][0]  # G1 shares the red rows


@given(st.sampled_from(PATTERNS), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_unpacking_is_the_exact_inverse(pattern: str, height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    mosaic = random.integers(0, 65536, (2 * height, 2 * width)).astype(np.uint16)
    np.testing.assert_array_equal(unpack_bayer(pack_bayer(mosaic, pattern), pattern), mosaic)
    packed = random.normal(size=(4, height, width)).astype(np.float32)
    np.testing.assert_array_equal(pack_bayer(unpack_bayer(packed, pattern), pattern), packed)


def test_odd_sides_lose_their_last_row_and_column() -> None:
    mosaic = np.arange(35, dtype=np.uint16).reshape(5, 7)
    np.testing.assert_array_equal(pack_bayer(mosaic, "GRBG"), pack_bayer(mosaic[:4, :6], "GRBG"))


def test_levels_come_back_exactly() -> None:
    values = np.tile(np.arange(16384, dtype=np.uint16).reshape(1, 128, 128), (4, 1, 1))
    black = (512.0, 513.0, 500.5, 0.0)
    linear = level(values, black, 16383, clip=False)
    assert linear.dtype == np.float32
    assert linear[0].min() < 0
    np.testing.assert_array_equal(unlevel(linear, black, 16383), values)
    clipped = level(values, black, 10000)
    assert clipped.min() == 0
    assert clipped.max() == 1


@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_xtrans_comes_back_exactly(rows: int, columns: int, seed: int) -> None:
    mosaic = np.random.default_rng(seed).integers(0, 65536, (6 * rows, 6 * columns)).astype(np.uint16)
    packed = pack_xtrans(mosaic)
    assert packed.shape == (9, 2 * rows, 2 * columns)
    np.testing.assert_array_equal(unpack_xtrans(packed), mosaic)
    np.testing.assert_array_equal(pack_xtrans(np.pad(mosaic, ((0, 5), (0, 1)))), packed)


def test_xtrans_planes_hold_one_colour_each() -> None:
    cell = np.array([list(row) for row in ("GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG")])
    cell = np.roll(cell, (-1, -2), (0, 1))  # where SID's files begin
    numbers = np.vectorize("RGB".index)(cell).astype(np.uint16)
    colours = [set(plane.ravel().tolist()) for plane in pack_xtrans(np.tile(numbers, (2, 2)))]
    assert colours[:5] == [{0}, {1}, {2}, {0}, {2}]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: pack_bayer(np.zeros((4, 4)), "RGBG"), "RGGB, BGGR, GRBG, GBRG, got 'RGBG'"),
        (lambda: pack_bayer(np.zeros((4, 4, 3)), "RGGB"), r"\(height, width\)"),
        (lambda: unpack_bayer(np.zeros((3, 4, 4)), "RGGB"), r"\(4, height, width\)"),
        (lambda: level(np.zeros((4, 2, 2)), (600.0,), 600), "black must be below white, got black 600, white 600"),
        (lambda: level(np.zeros((4, 2, 2)), (1.0, 2.0), 600), "2 black levels do not fit"),
        (lambda: pack_xtrans(np.zeros((5, 9))), "at least 6 x 6"),
        (lambda: unpack_xtrans(np.zeros((9, 3, 2))), "even sides"),
    ],
)
def test_wrong_shapes_and_levels_are_refused(wrong: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        wrong()  # type: ignore[operator]
