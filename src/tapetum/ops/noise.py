"""Standard normal numbers with a place: any part of an endless field, without the rest, and always the same.

The random numbers of a block are Philox's (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
keyed by the seed and counted from the block's coordinates, so no part depends on which others were asked for, or when.
They are made normal by Box and Muller's transform here, since NumPy keeps Philox's numbers for ever but not those of
``Generator.standard_normal``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIDE = 32  # of a block, in positions


def normal_field(
    seed: int, sample: int, channels: int, top: int, left: int, height: int, width: int
) -> NDArray[np.float32]:
    """Rows and columns from ``(top, left)`` on of a field of standard normal numbers: ``(channels, height, width)``.

    The field is endless downwards and to the right; a channel's numbers do not depend on how many channels follow.

    Args:
        seed, sample: which field: both from 0 to 2**64 - 1.
        channels, top, left, height, width: from 0 up.
    """
    field = np.empty((channels, height, width), np.float32)
    for row in range(top // _SIDE, -(-(top + height) // _SIDE)):
        for column in range(left // _SIDE, -(-(left + width) // _SIDE)):
            down, right = row * _SIDE - top, column * _SIDE - left
            rows, columns = (slice(max(start, 0), start + _SIDE) for start in (down, right))
            part = field[:, rows, columns]
            first_row, first_column = max(-down, 0), max(-right, 0)
            block = _block(seed, sample, channels, row, column)
            part[:] = block[:, first_row : first_row + part.shape[1], first_column : first_column + part.shape[2]]
    return field


def normal_vector(seed: int, sample: int, length: int) -> NDArray[np.float32]:
    """``(length,)`` standard normal numbers; the first ones do not depend on the length."""
    return normal_field(seed, sample, length, 0, 0, 1, 1)[:, 0, 0]


def _block(seed: int, sample: int, channels: int, row: int, column: int) -> NDArray[np.float32]:
    """``(channels, _SIDE, _SIDE)``."""
    # the low word of the counter runs, the others say where: blocks never meet
    philox = np.random.Philox(key=np.array([seed, sample], np.uint64), counter=np.array([0, 0, row, column], np.uint64))
    pairs = philox.random_raw((channels, 2, _SIDE * _SIDE // 2))
    uniform = ((pairs >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53  # within (0, 1), without its ends
    radius = np.sqrt(-2 * np.log(uniform[:, 0]))
    angle = 2 * np.pi * uniform[:, 1]
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return normal.astype(np.float32).reshape(channels, _SIDE, _SIDE)
