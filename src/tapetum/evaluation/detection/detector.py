"""Any detector that is an ONNX file: a picture in, boxes in the picture's pixels out. NumPy and ONNX Runtime only."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapetum.data.resize import resize_bilinear
from tapetum.engines.onnx import open_session
from tapetum.errors import UsageError, WeightsError
from tapetum.evaluation.detection import layouts
from tapetum.evaluation.detection.boxes import suppress
from tapetum.evaluation.onnx_pictures import fixed_sides, picture_input, run

AUTO = "auto"
DEFAULT_SIZE = 640
_STRIDE = 32
_GREY = 114  # what the YOLO family pads with
_CANDIDATES = 3000  # the best of a picture that go into the suppression


@dataclass(frozen=True)
class Settings:
    """How a detector is run. The defaults are those of the published ExDark protocol (IAT, Retinexformer).

    Attributes:
        layout: one of ``layouts.LAYOUTS``, or "auto".
        size: pixels to a side of the network's input, where the file leaves it open; a multiple of 32.
        confidence: boxes with lower scores are not looked at.
        iou: boxes of one class that overlap a better one by more are dropped.
        most: boxes of a picture, at most.
    """

    layout: str = AUTO
    size: int | None = None
    confidence: float = 0.005
    iou: float = 0.45
    most: int = 100


@dataclass(frozen=True)
class Detections:
    """What was found in a picture, best first.

    Attributes:
        boxes: ``(K, 4)`` left, top, right, bottom in the picture's pixels.
        scores: ``(K,)`` in 0..1.
        labels: ``(K,)`` indices of the data set's classes.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


class Detector:
    """A detector's ONNX file.

    It must have one input, ``(1 or open, 3, H, W)`` floating: RGB in 0..1, to which pictures are scaled keeping their
    ratio, with grey beside them. What it puts out: :mod:`tapetum.evaluation.detection.layouts`.

    Args:
        path: the file.
        classes: the data set's.
        knows: names of the detector's own classes where they are not the data set's in its order: every class of the
            data set must be among them (in whatever case), others are left out of what is found.

    Raises:
        WeightsError: no such file, inputs or outputs that are not a detector's, or of other classes.
        UsageError: a setting that does not fit, or outputs that may be read in two ways.
    """

    def __init__(
        self,
        path: str | Path,
        classes: Sequence[str],
        settings: Settings = Settings(),  # frozen
        *,
        knows: Sequence[str] | None = None,
        device: str = AUTO,
        threads: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.settings = settings
        self._session, self.name = open_session(path, device, threads)
        self._type = picture_input(self._session, self.path, "detector")
        self.size = self._the_size()
        self._count = len(classes if knows is None else knows)
        self._check_names(knows is None, len(classes))
        self._index = np.arange(len(classes)) if knows is None else self._mapping(classes, knows)
        outputs = self._run(np.full((1, 3, *self.size), _GREY / 255, self._type))
        if settings.layout == AUTO:
            self.layout = layouts.recognise(path, outputs, self._count)
        else:
            layouts.check(path, settings.layout, outputs, self._count)
            self.layout = settings.layout

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """What is found in a picture ``(H, W, 3)``, uint8 sRGB.

        Raises:
            WeightsError: what the network puts out makes no sense.
        """
        framed, scale, offset = letterbox(image, *self.size)
        planes = (framed.transpose(2, 0, 1)[None] / np.float32(255)).astype(self._type)
        outputs = self._run(planes)
        if not layouts.fits(self.layout, outputs, self._count):
            raise WeightsError(f"{self.path}: outputs {layouts.shapes_of(outputs)} are not of the layout {self.layout}")
        try:
            found = layouts.decode(self.layout, outputs, self._count, self.size, self.settings.confidence)
        except ValueError as error:
            raise WeightsError(f"{self.path} (layout {self.layout}): {error}") from None
        labels = self._index[found.labels]
        best = np.argsort(-found.scores, kind="stable")
        best = best[labels[best] >= 0]
        if self.layout in layouts.FINISHED:
            best = best[: self.settings.most]
        else:
            best = best[:_CANDIDATES]
            kept = suppress(found.boxes[best], found.scores[best], labels[best], self.settings.iou, self.settings.most)
            best = best[kept]
        height, width = image.shape[:2]
        boxes = (found.boxes[best] - np.asarray([*offset, *offset], np.float32)) / scale
        boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        return Detections(boxes, found.scores[best], labels[best])

    def _run(self, planes: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        return run(self._session, self.path, planes)

    def _the_size(self) -> tuple[int, int]:
        """Height and width that pictures are scaled into."""
        asked = self.settings.size
        if asked is not None and (asked < _STRIDE or asked % _STRIDE):
            raise UsageError(f"the detector's size must be a multiple of {_STRIDE}, got {asked}")
        sides = fixed_sides(self._session)
        if asked is not None and any(side not in (None, asked) for side in sides):
            raise UsageError(f"{self.path}: takes pictures of {sides[0]}x{sides[1]} pixels only, not {asked}x{asked}")
        height, width = (side or asked or DEFAULT_SIZE for side in sides)
        return height, width

    def _check_names(self, same: bool, classes: int) -> None:
        """Ultralytics' exports say which classes they have: layouts whose shape does not can be judged by that."""
        text = self._session.get_modelmeta().custom_metadata_map.get("names")
        try:
            names = ast.literal_eval(text) if text else None
        except (ValueError, SyntaxError):
            return
        if not isinstance(names, dict | list | tuple) or len(names) == self._count:
            return
        wanted = f"the data set has {classes}" if same else f"the file of its classes has {self._count}"
        hint = ": --classes FILE says which it knows" if same else ""
        raise WeightsError(f"{self.path}: a detector of {len(names)} classes, and {wanted}{hint}")

    def _mapping(self, classes: Sequence[str], knows: Sequence[str]) -> NDArray[np.intp]:
        """The detector's index -> the data set's, -1 for classes that it has not."""
        places = {name.lower(): index for index, name in enumerate(classes)}
        missing = [name for name in classes if name.lower() not in {known.lower() for known in knows}]
        if missing:
            raise UsageError(f"{self.path}: the detector does not know the data set's class {missing[0]}")
        return np.asarray([places.get(name.lower(), -1) for name in knows], np.intp)


def letterbox(
    image: NDArray[np.uint8], height: int, width: int
) -> tuple[NDArray[np.uint8], float, tuple[float, float]]:
    """A picture ``(H, W, 3)`` scaled to fit into ``(height, width, 3)``, in its middle, grey beside it.

    Returns:
        the framed picture, and the factor and the offsets (x, y) from places in the picture to places in the frame.
    """
    scale = min(height / image.shape[0], width / image.shape[1])
    rows, columns = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    framed = np.full((height, width, 3), _GREY, np.uint8)
    framed[top : top + rows, left : left + columns] = (
        image if (rows, columns) == image.shape[:2] else resize_bilinear(image, columns, rows)
    )
    return framed, scale, (float(left), float(top))
