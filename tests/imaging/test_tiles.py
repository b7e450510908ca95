"""Cutting, padding and joining of tiles."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.imaging.tiles import Grid, bands, cut, plan

grids = st.builds(
    lambda height, width, multiple, minimum, margin, side: plan(
        height, width, multiple=multiple, minimum=minimum, margin=margin, limit=side * side
    ),
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([1, 2, 3, 4, 8, 16, 64]),
    st.integers(1, 40),
    st.integers(0, 80),
    st.integers(1, 400),
)


def joined(grid: Grid, image: np.ndarray) -> np.ndarray:
    """All bands of a tile function that shows ``image`` (C, H, W)."""
    out = np.full_like(image, np.nan)
    expected_top = 0
    for top, rows in bands(grid, lambda y, x: image[:, y : y + grid.tile_height, x : x + grid.tile_width].copy()):
        assert top == expected_top
        out[:, top : top + rows.shape[1]] = rows
        expected_top = top + rows.shape[1]
    assert expected_top == grid.height
    return out


@settings(max_examples=150, deadline=None)
@given(grids, st.integers(0, 2**32 - 1))
def test_tiles_of_one_picture_join_to_that_picture_exactly(grid: Grid, seed: int) -> None:
    image = np.random.default_rng(seed).random((2, grid.height, grid.width), np.float32)
    assert np.array_equal(joined(grid, image), image)


@given(grids)
def test_tiles_cover_the_picture_and_ramps_keep_apart(grid: Grid) -> None:
    for starts, side, length in ((grid.tops, grid.tile_height, grid.height), (grid.lefts, grid.tile_width, grid.width)):
        assert starts[0] == 0
        assert starts[-1] + side == length
        ramps = [(a + side + b - grid.ramp) // 2 for a, b in itertools.pairwise(starts)]
        for start, ramp, following in zip(starts, ramps, [*ramps[1:], length], strict=False):
            assert ramp >= start
            assert ramp + grid.ramp <= start + side
            assert ramp + grid.ramp <= following


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.sampled_from([1, 4, 8, 16]),
    st.integers(0, 60),
    st.integers(200, 900),
)
def test_tiles_obey_limit_multiple_and_margin(height: int, width: int, multiple: int, margin: int, side: int) -> None:
    grid = plan(height, width, multiple=multiple, minimum=multiple, margin=margin, limit=side * side)
    assert grid.tile_height * grid.tile_width <= side * side
    assert all(v % multiple == 0 for v in (*grid.tops, *grid.lefts, grid.tile_height, grid.tile_width))
    if 2 * margin + 16 + multiple <= side // 2:
        for starts, length in ((grid.tops, grid.tile_height), (grid.lefts, grid.tile_width)):
            for a, b in itertools.pairwise(starts):
                overlap = a + length - b
                assert (overlap - grid.ramp) // 2 >= margin  # beyond the ramp, each tile sees all that it must


def test_ramp_is_a_weighted_mean_whose_weights_sum_to_one() -> None:
    grid = plan(300, 300, multiple=1, minimum=1, margin=4, limit=120 * 120)
    ones = [rows for _, rows in bands(grid, lambda y, x: np.ones((1, grid.tile_height, grid.tile_width), np.float32))]
    assert np.array_equal(np.concatenate(ones, axis=1), np.ones((1, 300, 300), np.float32))
    order = iter(range(1000))
    steps = np.concatenate(
        [
            r
            for _, r in bands(
                grid, lambda y, x: np.full((1, grid.tile_height, grid.tile_width), next(order), np.float32)
            )
        ],
        axis=1,
    )
    assert np.abs(np.diff(steps[0, 0])).max() <= 1 / grid.ramp  # tile 0 to tile 1: no step, a slope


def test_small_pictures_are_one_tile() -> None:
    grid = plan(400, 600, multiple=8, minimum=8, margin=70, limit=1e6)
    assert grid.whole
    assert (grid.tile_height, grid.tile_width) == (400, 600)


@pytest.mark.parametrize(
    ("size", "padded", "expected"),
    [
        (4, 7, [0, 1, 2, 3, 2, 1, 0]),  # reflected, the edge not repeated
        (3, 6, [0, 1, 2, 2, 2, 2]),  # too small for it: the edge repeated
        (1, 4, [0, 0, 0, 0]),
        (4, 4, [0, 1, 2, 3]),
    ],
)
def test_cut_pads_by_reflection(size: int, padded: int, expected: list[int]) -> None:
    row = np.arange(size)[None, :, None]
    assert cut(row, 0, 0, 1, padded)[0, :, 0].tolist() == expected
    column = np.arange(size)[:, None, None]
    assert cut(column, 0, 0, padded, 1)[:, 0, 0].tolist() == expected
    assert cut(row, 0, 1, 1, padded - 1)[0, :, 0].tolist() == expected[1:]
