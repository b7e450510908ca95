"""Measures gathered over many pictures: the mean of the pictures' values, as the field forms it. Memory stays flat."""

from __future__ import annotations

from collections.abc import Sequence

from tapetum.metrics.pictures import Image
from tapetum.metrics.registry import get

# Equal pictures have an infinite PSNR, with which no mean can be formed; the test scripts of the field write this
HIGHEST_DB = 100.0


def score(name: str, enhanced: Image, target: Image | None = None, low: Image | None = None) -> float:
    """One measure of one picture; decibels are at most ``HIGHEST_DB``.

    Raises:
        UsageError: no such measure, or what it needs is not installed.
        ValueError: a picture that it compares with is not given, or pictures that do not fit it.
    """
    measure = get(name)
    value = measure(enhanced, target, low)
    return min(value, HIGHEST_DB) if measure.unit == "dB" else value


class Means:
    """Means of some measures, one picture at a time.

        means = Means(["psnr_rgb_uint8", "ciede2000_uint8"])
        for low, target in pictures:
            means.update(enhancer(low), target)
        means.compute()

    Args:
        names: of the measures.

    Attributes:
        count: pictures since the beginning or ``reset``.

    Raises:
        UsageError: no such measure.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(dict.fromkeys(get(name).name for name in names))
        self.reset()

    def reset(self) -> None:
        """Forgets all pictures."""
        self.count = 0
        self._sums = dict.fromkeys(self.names, 0.0)

    def update(self, enhanced: Image, target: Image | None = None, low: Image | None = None) -> dict[str, float]:
        """The values of this picture, which count from now on.

        Raises:
            ValueError: a picture that a measure compares with is not given, or pictures that do not fit it. Nothing
            of this picture counts then.
        """
        values = {name: score(name, enhanced, target, low) for name in self.names}
        for name, value in values.items():
            self._sums[name] += value
        self.count += 1
        return values

    def merge(self, other: Means) -> None:
        """Takes in the pictures of another one, of another process perhaps. Raises ValueError for other measures."""
        if other.names != self.names:
            raise ValueError(f"means of {', '.join(other.names)} are none of {', '.join(self.names)}")
        self.count += other.count
        for name, value in other._sums.items():
            self._sums[name] += value

    def compute(self) -> dict[str, float]:
        """The means. Raises ValueError where there was no picture."""
        if not self.count:
            raise ValueError("there is no mean of no pictures")
        return {name: total / self.count for name, total in self._sums.items()}
