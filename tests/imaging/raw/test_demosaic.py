"""Demosaicing against the filters as the paper prints them, applied by a plain convolution."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.imaging.raw.demosaic import MARGIN, demosaic_interior
from tapetum.imaging.raw.packing import PATTERNS

# Malvar, He, Cutler 2004, figure 2; all divided by 8
GREEN = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
BESIDE = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
ABOVE = np.transpose(BESIDE).tolist()
OPPOSITE = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]


def filtered(mosaic: np.ndarray, kernel: list[list[float]]) -> np.ndarray:
    padded = np.pad(mosaic, 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    return np.einsum("hwij,ij->hw", windows, np.array(kernel) / 8)


def reference(mosaic: np.ndarray, pattern: str) -> np.ndarray:
    height, width = mosaic.shape
    colours = np.empty((height, width, 3))
    results = {id(kernel): filtered(mosaic, kernel) for kernel in (GREEN, BESIDE, ABOVE, OPPOSITE)}
    for row in range(height):
        for column in range(width):
            here = pattern[2 * (row % 2) + column % 2]
            neighbour = pattern[2 * (row % 2) + 1 - column % 2]
            for channel, wanted in enumerate("RGB"):
                if wanted == here:
                    value = mosaic[row, column]
                elif wanted == "G":
                    value = results[id(GREEN)][row, column]
                elif here == "G":
                    value = results[id(BESIDE if wanted == neighbour else ABOVE)][row, column]
                else:
                    value = results[id(OPPOSITE)][row, column]
                colours[row, column, channel] = value
    return colours


def demosaic(mosaic: np.ndarray, pattern: str) -> np.ndarray:
    return demosaic_interior(np.pad(mosaic, MARGIN, mode="reflect"), pattern)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_as_the_paper_has_it(pattern: str) -> None:
    mosaic = np.random.default_rng(3).normal(size=(16, 22)).astype(np.float32)
    np.testing.assert_allclose(demosaic(mosaic, pattern), reference(mosaic, pattern), atol=1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_grey_ramps_stay_what_they_are(pattern: str) -> None:
    rows, columns = np.mgrid[0:20, 0:30].astype(np.float32)
    ramp = 0.1 + 0.01 * rows + 0.02 * columns
    inner = demosaic(ramp, pattern)[2:-2, 2:-2]
    np.testing.assert_allclose(inner, np.repeat(ramp[2:-2, 2:-2, None], 3, axis=2), atol=1e-6)
