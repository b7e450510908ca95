"""Pictures that are put together anew for every sample: unpaired ones, and two exposures of one view.

Like everything that is drawn, the choice is a function of the generator that is passed in, hence of (seed, index).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tapetum.data.arrays import load_array
from tapetum.data.pairs import Pair
from tapetum.data.pictures import load_rgb
from tapetum.data.resize import Sized
from tapetum.errors import InputError
from tapetum.imaging.header import picture_size


class Drawn(Protocol):
    """Something that pairs are drawn from, in place of a list of pairs."""

    def draw(self, rng: np.random.Generator) -> Pair: ...


@dataclass(frozen=True)
class Unpaired:
    """Dark and normal pictures that have nothing to do with each other: any number, any sizes.

    Raises:
        InputError: fewer than two of either.
    """

    low: Sequence[Path]
    normal: Sequence[Path]

    def __post_init__(self) -> None:
        for paths, what in ((self.low, "dark"), (self.normal, "normal")):
            if len(paths) < 2:
                where = f" ({paths[0].parent})" if paths else ""
                raise InputError(
                    f"{len(paths)} {what} picture{where} left to train with, unpaired training needs at least 2: "
                    "add some, or lower hold_out"
                )

    def draw(self, rng: np.random.Generator) -> Pair:
        """One of each, drawn independently."""
        low = self.low[int(rng.integers(len(self.low)))]
        normal = self.normal[int(rng.integers(len(self.normal)))]
        return Pair(f"{low.stem}+{normal.stem}", low, normal, low.stem)


@dataclass(frozen=True)
class Exposures:
    """Several exposures of each view, aligned with each other.

    Raises:
        InputError: no view, or one with a single exposure.
    """

    views: Sequence[tuple[Path, ...]]

    def __post_init__(self) -> None:
        if not self.views:
            raise InputError("no view has two different exposures to train with")
        lonely = next((view for view in self.views if len(set(view)) < 2), None)
        if lonely is not None:
            raise InputError(f"{lonely[0]}: the only exposure of its view")

    @classmethod
    def of_pairs(cls, pairs: Sequence[Pair], lows_only: bool = False) -> Exposures:
        """Lows that share a target are exposures of one view, and so is the target.

        Args:
            lows_only: the target does not count (two under-exposed pictures, as LightenDiffusion's paper has it);
                views with one low are left out.
        """
        by_target = groupby(sorted(pairs, key=lambda p: (p.target, p.low)), key=lambda p: p.target)
        views = [(*(p.low for p in group), *(() if lows_only else (target,))) for target, group in by_target]
        return cls([view for view in views if len(set(view)) > 1])

    def draw(self, rng: np.random.Generator) -> Pair:
        """Two different exposures of one view, in any order."""
        view = self.views[int(rng.integers(len(self.views)))]
        first, second = rng.permutation(len(view))[:2]
        return Pair(view[0].stem, view[first], view[second], view[0].stem)


def read_any(path: Path) -> NDArray[Any]:
    """``(H, W, 3)`` RGB of a picture (uint8), or of an array file of SID, SMID, SDSD (float32 in [0, 1])."""
    return load_array(path) if path.suffix == ".npy" else load_rgb(path)


def check_sizes(paths: Sequence[Path], patch: int) -> None:
    """Looks at the headers of pictures (not of arrays, which are all resized to one size).

    Raises:
        InputError: one that is smaller than the patch, or cannot be read.
    """
    for path in dict.fromkeys(paths):
        if path.suffix == ".npy":
            continue
        width, height = picture_size(path)
        if min(width, height) < patch:
            raise InputError(
                f"{path}: {width}x{height}, smaller than the patch of {patch}x{patch}: take it out, or lower data.patch"
            )


WINDOW = 8
"""Sides of training pictures are at least this: less is nothing to learn from, whatever the patch is filled up with."""


def check_pairs(pairs: Sequence[Pair], sized: Sized | None = None) -> None:
    """Looks at the headers of pictures (not of arrays).

    Args:
        sized: how they are resized as they are read, if they are.

    Raises:
        InputError: a picture smaller than a window, or two of one pair that differ in size.
    """
    for pair in pairs:
        sizes = {path: picture_size(path) for path in (pair.low, pair.target) if path.suffix != ".npy"}
        for path, (width, height) in sizes.items():
            if min(width, height) < WINDOW:
                raise InputError(f"{path}: {width}x{height}, smaller than a window of {WINDOW}x{WINDOW}: take it out")
        if len({sized(height, width) if sized else (height, width) for width, height in sizes.values()}) > 1:
            (low, (width, height)), (target, (other_width, other_height)) = sizes.items()
            raise InputError(f"{low}: {width}x{height}, but its target {target} is {other_width}x{other_height}")


def check_aligned(views: Sequence[Sequence[Path]]) -> None:
    """Raises InputError where the exposures of a view differ in size."""
    for view in views:
        sizes = {path: picture_size(path) for path in view if path.suffix != ".npy"}
        for path, size in sizes.items():
            first = next(iter(sizes))
            if size != sizes[first]:
                raise InputError(
                    f"{path}: {size[0]}x{size[1]}, but {first.name} of the same view is "
                    f"{sizes[first][0]}x{sizes[first][1]}: exposures must be aligned"
                )
