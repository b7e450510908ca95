"""Any network for semantic segmentation that is an ONNX file: a picture in, a class for every pixel out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.resize import resize_bilinear
from tapetum.engines.onnx import open_session
from tapetum.errors import UsageError, WeightsError
from tapetum.evaluation.onnx_pictures import fixed_sides, picture_input, run

NORMALISATIONS = {
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and deviation that RGB in 0..1 is brought to before the network."""


class Segmenter:
    """A segmenter's ONNX file.

    It must have one input, ``(1 or open, 3, H, W)`` floating, RGB; and as its first output scores ``(1, C, h, w)``, or
    labels ``(1, h, w)`` or ``(1, 1, h, w)`` of whole numbers. Scores are brought to the picture's size bilinearly, then
    the best class is taken; labels go by the nearest.

    Args:
        path: the file.
        classes: how many there are.
        size: height and width that pictures are brought to; None: what the file says, or, where it leaves that open,
            their own, padded to a multiple of 32 by repeating the border.
        normalisation: of ``NORMALISATIONS``: what the network wants that is not in its file.

    Raises:
        WeightsError: no such file, or inputs that are not a segmenter's. UsageError: a size or normalisation that
        cannot be.
    """

    def __init__(
        self,
        path: str | Path,
        classes: int,
        *,
        size: tuple[int, int] | None = None,
        normalisation: str = "none",
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        if normalisation not in NORMALISATIONS:
            raise UsageError(f"unknown normalisation {normalisation!r}: choose from {', '.join(NORMALISATIONS)}")
        if size is not None and min(size) < 1:
            raise UsageError(f"a segmenter's input has sides from 1 up, got {size[0]}x{size[1]}")
        self.path = Path(path)
        self._classes = classes
        self._mean, self._deviation = (np.asarray(value, np.float32) for value in NORMALISATIONS[normalisation])
        self._session, self.name = open_session(path, device, threads)
        self._type = picture_input(self._session, self.path, "segmenter")
        fixed = fixed_sides(self._session)
        if size is not None and any(have not in (None, want) for have, want in zip(fixed, size, strict=True)):
            raise UsageError(f"{self.path}: takes pictures of {fixed[0]}x{fixed[1]} (height x width) only")
        self._size = size or ((fixed[0], fixed[1]) if fixed[0] and fixed[1] else None)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` uint8 sRGB -> classes ``(H, W)``.

        Raises:
            WeightsError: the network does not take the picture, or what it puts out is not of these classes.
        """
        height, width = image.shape[:2]
        if self._size is None:
            shown = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)), "edge")
        else:
            shown = image if image.shape[:2] == self._size else resize_bilinear(image, self._size[1], self._size[0])
        planes = (shown / np.float32(255) - self._mean) / self._deviation
        ordered = np.ascontiguousarray(planes.transpose(2, 0, 1)[None]).astype(self._type)
        output = run(self._session, self.path, ordered)[0]
        inside = shown.shape[:2] if self._size is None else (height, width)
        if output.dtype.kind in "iu":
            labels = self._labels(output)
            rows, columns = (_nearest(old, new) for old, new in zip(labels.shape, inside, strict=True))
            return labels[rows][:, columns][:height, :width].astype(np.uint8)
        if output.ndim != 4 or output.shape[:2] != (1, self._classes):
            raise WeightsError(
                f"{self.path}: puts out {output.shape}, and scores of {self._classes} classes are "
                f"(1, {self._classes}, height, width)"
            )
        return self._best(output[0], *inside)[:height, :width]

    def _best(self, scores: NDArray[np.floating], height: int, width: int) -> NDArray[np.uint8]:
        """``(C, h, w)`` to classes ``(height, width)``, one class at a time: there may be many."""
        best = np.full((height, width), -np.inf, np.float32)
        result = np.zeros((height, width), np.uint8)
        for index, plane in enumerate(scores):
            whole = np.ascontiguousarray(plane, np.float32)[..., None]
            value = whole if whole.shape[:2] == (height, width) else resize_bilinear(whole, width, height)
            better = value[..., 0] > best
            best[better] = value[..., 0][better]
            result[better] = index
        return result

    def _labels(self, output: NDArray[Any]) -> NDArray[Any]:
        if output.ndim == 4 and output.shape[1] == 1:
            output = output[:, 0]
        if output.ndim != 3 or output.shape[0] != 1:
            raise WeightsError(f"{self.path}: puts out {output.shape}, and labels are (1, height, width)")
        if output.min() < 0 or output.max() >= self._classes:
            raise WeightsError(f"{self.path}: puts out the class {output.max()}, and there are {self._classes}")
        return output[0]


def _nearest(old: int, new: int) -> NDArray[np.intp]:
    return ((np.arange(new) + 0.5) * (old / new)).astype(np.intp).clip(0, old - 1)
