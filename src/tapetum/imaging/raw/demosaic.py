"""Demosaicing by the linear filters of Malvar, He and Cutler (ICASSP 2004, figure 2): bilinear, corrected by the
gradient of the colour that was measured.

Linear, so that nothing is clipped or quantised on the way and noise below black survives; 5x5, so that a picture goes
through strip by strip. Adaptive methods make fewer coloured fringes on sharp edges in good light; in the dark, where
noise decides, they see edges in it.
"""

from __future__ import annotations

import numpy as np

MARGIN = 2  # how far a filter sees


def demosaic_interior(padded: np.ndarray, pattern: str) -> np.ndarray:
    """``(H + 4, W + 4)``, white-balanced, sides even -> ``(H, W, 3)``, unclipped, float32; ``pattern`` is that of the
    interior (and so of the padded picture).
    """
    height, width = padded.shape[0] - 2 * MARGIN, padded.shape[1] - 2 * MARGIN
    colours = np.empty((height, width, 3), np.float32)
    # four planes without gaps: every sum below runs over neighbouring memory
    planes = [[np.ascontiguousarray(padded[row::2, column::2]) for column in (0, 1)] for row in (0, 1)]
    for row in (0, 1):
        for column in (0, 1):

            def at(down: int, right: int, row: int = row, column: int = column) -> np.ndarray:
                y, x = row + MARGIN + down, column + MARGIN + right
                return planes[y % 2][x % 2][y // 2 : y // 2 + height // 2, x // 2 : x // 2 + width // 2]

            site = colours[row::2, column::2]
            here = at(0, 0)
            beside, above = at(0, -1) + at(0, 1), at(-1, 0) + at(1, 0)
            far_beside, far_above = at(0, -2) + at(0, 2), at(-2, 0) + at(2, 0)
            diagonal = at(-1, -1) + at(-1, 1)
            diagonal += at(1, -1)
            diagonal += at(1, 1)
            colour = "RGB".index(pattern[2 * row + column])
            site[..., colour] = here
            if colour == 1:
                of_row = "RGB".index(pattern[2 * row + 1 - column])
                middle = here * np.float32(5 / 8) - diagonal / 8
                site[..., of_row] = middle + beside / 2 - far_beside / 8 + far_above / 16
                site[..., 2 - of_row] = middle + above / 2 - far_above / 8 + far_beside / 16
            else:
                far = far_beside + far_above
                site[..., 1] = here / 2 + (beside + above) / 4 - far / 8
                site[..., 2 - colour] = here * np.float32(3 / 4) + diagonal / 4 - far * np.float32(3 / 16)
    return colours
