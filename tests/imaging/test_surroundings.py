"""Tiles of networks that see all of a picture: as bright as the whole, or left alone where the whole has no say."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.imaging.surroundings import Surroundings
from tapetum.imaging.tiles import Grid, cut, pieces, plan


def scene(height: int, width: int) -> np.ndarray:
    """``(3, H, W)``: darker to the left, with texture."""
    rows, columns = np.mgrid[:height, :width]
    texture = 0.02 * np.sin(rows / 3) * np.cos(columns / 5)
    return (0.05 + 0.25 * columns / width + texture)[None].repeat(3, 0).astype(np.float32)


def exposed(picture: np.ndarray) -> np.ndarray:
    """Every picture to one mean: what it is shown decides how bright it becomes."""
    return picture * np.float32(0.4) / picture.mean()


def local(picture: np.ndarray) -> np.ndarray:
    return np.sqrt(picture)


def tiled(picture: np.ndarray, network, grid: Grid, small: np.ndarray | None) -> np.ndarray:
    height, width = picture.shape[1:]
    surroundings = None if small is None else Surroundings(small, height, width, grid, network)
    result = np.empty((3, grid.height, grid.width), np.float32)

    def tile(top: int, left: int) -> np.ndarray:
        low = cut(picture.transpose(1, 2, 0), top, left, grid.tile_height, grid.tile_width).transpose(2, 0, 1)
        enhanced = network(low).copy()
        if surroundings is not None:
            surroundings.apply(enhanced, top, left)
        return enhanced

    for top, left, part in pieces(grid, tile):
        result[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return result[:, :height, :width]


@pytest.mark.parametrize(("height", "width"), [(240, 400), (237, 391), (100, 901)])
def test_tiles_of_what_looks_at_the_whole_are_as_bright(height: int, width: int) -> None:
    picture = scene(height, width)
    whole = exposed(picture)
    grid = plan(height, width, multiple=4, minimum=4, margin=16, limit=128 * 128)
    assert grid.tiles > 2
    small = picture[:, ::2, ::2]
    alone = np.abs(tiled(picture, exposed, grid, None) - whole).mean()
    brought = np.abs(tiled(picture, exposed, grid, small) - whole)
    assert alone > 0.08
    assert brought.mean() < 0.1 * alone
    assert brought.max() < 0.05


def test_tiles_of_what_looks_no_further_stay_as_they_are() -> None:
    picture = scene(240, 400)
    grid = plan(240, 400, multiple=4, minimum=4, margin=16, limit=128 * 128)
    assert np.array_equal(tiled(picture, local, grid, picture[:, ::3, ::3]), local(picture))


def test_black_and_tiny() -> None:
    """Nothing to compare, and cells of a single pixel of the small picture: still finite."""
    picture = np.zeros((3, 64, 64), np.float32)
    grid = plan(64, 64, multiple=4, minimum=4, margin=4, limit=32 * 32)
    for small in (picture[:, ::4, ::4], picture[:, :1, :1]):
        assert np.array_equal(tiled(picture, local, grid, small), picture)
    assert np.isfinite(tiled(scene(64, 64), exposed, grid, scene(64, 64)[:, :1, :1])).all()
