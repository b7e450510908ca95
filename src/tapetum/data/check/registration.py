"""Do the dark picture and its target lie on each other? Their edge directions, correlated over all shifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tapetum.data.check.sketch import directions

LONGEST = 300  # pixels on the longer side at which pairs are compared: less noise, less time
TOLERANCE = 0.0025
"""Of the longer side: a smaller shift is not reported. 1.5 pixels of 600; the peak is found to about 0.3 of them."""
RELATED = 0.1
"""Agreement below which nothing is seen of one picture in the other. Pictures of different places stay below 0.07."""


@dataclass(frozen=True)
class Registration:
    """Where the target lies in the dark picture.

    Attributes:
        across, down: shift of the target against the dark picture, in pixels of the files.
        confidence: agreement of the edge directions at this shift: 1 equal, 0 unrelated.
        in_place: agreement without a shift.
        longer: the longer side of the files.
    """

    across: float
    down: float
    confidence: float
    in_place: float
    longer: int

    @property
    def shift(self) -> float:
        """In pixels of the files."""
        return float(np.hypot(self.across, self.down))

    @property
    def is_related(self) -> bool:
        """Whether one picture is seen in the other at all."""
        return self.confidence >= RELATED

    @property
    def is_aligned(self) -> bool:
        return self.shift <= max(1.0, TOLERANCE * self.longer)


def register(low: NDArray[np.float32], target: NDArray[np.float32], longer: int) -> Registration:
    """Compares a pair of one size.

    Args:
        low, target: ``(h, w)`` ranks of the shrunk pictures.
        longer: the longer side of the pictures before they were shrunk.
    """
    one, two = directions(low), directions(target)
    norm = float(np.sqrt((np.abs(one) ** 2).sum() * (np.abs(two) ** 2).sum()))
    if norm == 0:  # at least one is a single colour
        return Registration(0.0, 0.0, 0.0, 0.0, longer)
    correlation = np.fft.ifft2(np.fft.fft2(two) * np.fft.fft2(one).conj()).real / norm
    down, across = np.unravel_index(int(correlation.argmax()), correlation.shape)
    scale = longer / max(low.shape)
    return Registration(
        scale * _centred(correlation[down], int(across)),
        scale * _centred(correlation[:, across], int(down)),
        float(correlation[down, across]),
        float(correlation[0, 0]),
        longer,
    )


def _centred(line: NDArray[np.floating], peak: int) -> float:
    """The peak's place between its neighbours, by a parabola; beyond the middle it is a negative shift."""
    size = len(line)
    before, at, after = (float(line[(peak + step) % size]) for step in (-1, 0, 1))
    bend = before - 2 * at + after
    place = peak + (0.5 * (before - after) / bend if bend < 0 else 0.0)
    return place - size * (place > size / 2)
