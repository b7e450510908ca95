"""Groups pictures that show one scene."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np

from tapetum.data.check.examine import Examined
from tapetum.data.check.matching import Sketches
from tapetum.data.check.retrieval import describe, neighbours


@dataclass(frozen=True)
class Twins:
    """Two pictures of one scene, by number; ``first < second``."""

    first: int
    second: int
    score: float
    zoom: float


def candidates(pictures: Sequence[Examined], roles: Sequence[Set[str]]) -> list[tuple[int, int]]:
    """Pairs of numbers that are worth comparing.

    Args:
        roles: of each picture: "train", "test", or both.
    """
    if len(pictures) < 2:
        return []
    groups = [np.flatnonzero([role in own for own in roles]) for role in sorted(set().union(*roles))]
    found = neighbours(np.stack([describe(picture.sketch) for picture in pictures]), groups)
    return sorted(found)


def compare(pictures: Sequence[Examined], pairs: Iterable[tuple[int, int]]) -> Iterator[Twins | None]:
    """For each pair, in order: whether both show one scene."""
    sketches = Sketches([picture.sketch for picture in pictures])
    for first, second in pairs:
        agreed = sketches.compare(first, second)
        yield Twins(first, second, agreed.score, agreed.zoom) if agreed.is_same_scene else None


def group(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Scene number, from 1, of each of ``count`` pictures: pictures of a pair share it, and so on from pair to pair."""
    parent = list(range(count))

    def top(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for first, second in pairs:
        low, high = sorted((top(first), top(second)))
        parent[high] = low
    numbers: dict[int, int] = {}
    return [numbers.setdefault(top(number), len(numbers) + 1) for number in range(count)]
