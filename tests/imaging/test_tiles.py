"""Cutting, padding and joining of tiles."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.imaging.tiles import Grid, cut, kept_between_tiles, pieces, plan

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


def joined(grid: Grid, tile: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """All pieces of a tile function, ``(C, height, width)``; each pixel is written once."""
    out: np.ndarray | None = None
    for top, left, piece in pieces(grid, tile):
        if out is None:
            out = np.full((piece.shape[0], grid.height, grid.width), np.nan, np.float32)
        place = out[:, top : top + piece.shape[1], left : left + piece.shape[2]]
        assert place.shape == piece.shape
        assert np.isnan(place).all()
        place[:] = piece
    assert out is not None
    return out


def shown(grid: Grid, image: np.ndarray) -> Callable[[int, int], np.ndarray]:
    """The tile function that shows ``image`` (C, H, W)."""
    return lambda top, left: image[:, top : top + grid.tile_height, left : left + grid.tile_width].copy()


@settings(max_examples=150)
@given(grids, st.integers(0, 2**32 - 1))
def test_tiles_of_one_picture_join_to_that_picture_exactly(grid: Grid, seed: int) -> None:
    image = np.random.default_rng(seed).random((2, grid.height, grid.width), np.float32)
    assert np.array_equal(joined(grid, shown(grid, image)), image)


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
    ones = joined(grid, lambda y, x: np.ones((1, grid.tile_height, grid.tile_width), np.float32))
    assert np.array_equal(ones, np.ones((1, 300, 300), np.float32))
    order = iter(range(1000))
    steps = joined(grid, lambda y, x: np.full((1, grid.tile_height, grid.tile_width), next(order), np.float32))
    assert np.abs(np.diff(steps[0, 0])).max() <= 1 / grid.ramp  # tile 0 to tile 1: no step, a slope
    assert np.abs(np.diff(steps[0, :, 0])).max() <= len(grid.lefts) / grid.ramp  # from row to row


@given(grids, st.integers(0, 2**32 - 1))
def test_corners_blend_columns_first_then_rows(grid: Grid, seed: int) -> None:
    """The joining of whole bands, written down anew: tiles that differ are mixed across, then the bands downward."""
    random = np.random.default_rng(seed)
    tiles = {
        (top, left): random.random((1, grid.tile_height, grid.tile_width), np.float32)
        for top in grid.tops
        for left in grid.lefts
    }

    def mix(strips: list[np.ndarray], starts: tuple[int, ...], axis: int, length: int) -> np.ndarray:
        shape = [*strips[0].shape]
        shape[axis] = length
        whole = np.empty(shape, np.float64)
        side = strips[0].shape[axis]
        for i, (start, strip) in enumerate(zip(starts, strips, strict=True)):
            old, new = np.moveaxis(whole, axis, -1), np.moveaxis(strip, axis, -1).astype(np.float64)
            first = (starts[i - 1] + side + start - grid.ramp) // 2 if i else 0
            share = (
                np.clip((np.arange(start, start + side) - first + 1) / (grid.ramp + 1), 0, 1) if i else np.ones(side)
            )
            before = np.where(share < 1, old[..., start : start + side], 0) if i else 0
            old[..., start : start + side] = before * (1 - share) + new * share
        return whole

    bands = [mix([tiles[top, left] for left in grid.lefts], grid.lefts, 2, grid.width) for top in grid.tops]
    expected = mix(bands, grid.tops, 1, grid.height)
    assert np.abs(joined(grid, lambda y, x: tiles[y, x].copy()) - expected).max() < 1e-5


def joined_and_dropped(grid: Grid) -> None:
    for _, _, piece in pieces(grid, lambda y, x: np.zeros((3, grid.tile_height, grid.tile_width), np.float32)):
        del piece


def test_only_one_tile_is_in_memory() -> None:
    """Whatever the picture's size: measured, with all that NumPy allocates."""
    for height, width in ((300, 300), (300, 3000), (3000, 300)):
        grid = plan(height, width, multiple=4, minimum=4, margin=16, limit=150 * 150)
        assert len(grid.tops) * len(grid.lefts) > 1
        tile_bytes = 4 * 3 * grid.tile_height * grid.tile_width
        tracemalloc.start()
        joined_and_dropped(grid)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= tile_bytes + 4 * 3 * kept_between_tiles(grid) + 20_000


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
