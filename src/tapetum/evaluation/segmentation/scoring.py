"""Intersection over union, from counts of pixels, as Cityscapes evaluates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tapetum.data.segmentation import IGNORED


@dataclass(frozen=True)
class Scores:
    """Of one method on a data set.

    Attributes:
        iou: of each class, 0..1; NaN where it is neither in the labels nor in what was found.
        mean_iou: mean over the classes that have one.
        accuracy: share of the pixels that are right.
        pixels: labelled pixels of each class.
    """

    iou: tuple[float, ...]
    mean_iou: float
    accuracy: float
    pixels: tuple[int, ...]


class Confusion:
    """Counts of pixels, ``counts[label, found]``; pixels whose label is ``IGNORED`` count nowhere."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, labels: NDArray[np.uint8], found: NDArray[np.uint8]) -> None:
        """One picture: both ``(H, W)``. Raises ValueError: sizes differ."""
        if labels.shape != found.shape:
            raise ValueError(f"labels of {labels.shape} and classes of {found.shape}")
        counted = labels != IGNORED
        classes = len(self.counts)
        codes = labels[counted].astype(np.int64) * classes + found[counted]
        self.counts += np.bincount(codes, minlength=classes**2).reshape(classes, classes)

    def scores(self) -> Scores:
        """Raises ValueError: no pixel has counted."""
        if not self.counts.any():
            raise ValueError("no pixel has a class")
        right = np.diag(self.counts)
        pixels = self.counts.sum(1)
        union = pixels + self.counts.sum(0) - right
        iou = np.where(union > 0, right / np.maximum(union, 1), np.nan)
        return Scores(
            tuple(iou.tolist()), float(np.nanmean(iou)), float(right.sum() / pixels.sum()), tuple(pixels.tolist())
        )
