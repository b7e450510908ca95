"""What detectors' ONNX files put out: boxes and scores in one of a few layouts, recognised by their shapes.

=====================  =================================================  ==============================================
name                   outputs (N boxes, C classes)                       made by, for instance
=====================  =================================================  ==============================================
objectness             ``(1, N, 5 + C)``: x, y, w, h, object, classes     YOLOv3, v5, v7 (Ultralytics' exports)
classes                ``(1, 4 + C, N)``: x, y, w, h, classes             YOLOv8, v9, v11, ...
classes-last           ``(1, N, 4 + C)``: x, y, w, h, classes             RT-DETR (older exports)
end-to-end             ``(1, N, 6)``: corners, score, class               YOLOv10 and later, exports with NMS
end-to-end-centres     ``(1, N, 6)``: x, y, w, h, score, class            RT-DETR (Ultralytics 8.4's exports)
boxes-scores           ``(1, N, 4)`` or ``(1, N, 1, 4)``: corners, and    YOLOv4, YOLO-NAS
                       ``(1, N, C)``
dets-labels            ``(1, N, 5)``: corners, score, and ``(1, N)``      MMDetection (also its YOLOv3)
boxes-scores-labels    ``(1, N, 4)``: corners, ``(1, N)`` floating,       exports with an NMS of TensorRT's kind
                       ``(1, N)`` integers, and a count or not
=====================  =================================================  ==============================================

x, y are a box's centre. Of the two with six columns it is the one with corners unless a box would end before it begins.
Places are pixels of the network's input, or parts of it (0..1): where none is beyond 2, they are parts. Other outputs
than these (a detector's raw feature maps beside its boxes) are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.errors import UsageError, WeightsError

LAYOUTS = (
    "objectness",
    "classes",
    "classes-last",
    "end-to-end",
    "end-to-end-centres",
    "boxes-scores",
    "dets-labels",
    "boxes-scores-labels",
)
# These have gone through a suppression of their own, or need none
FINISHED = ("end-to-end", "end-to-end-centres", "dets-labels", "boxes-scores-labels")
_LARGEST_PART = 2.0
_SCORE_SLACK = 1e-3
_CORNER_SLACK = 1e-3  # rounding of boxes without width

Array = NDArray[Any]
Arrays = Sequence[Array]


@dataclass(frozen=True)
class Candidates:
    """Boxes of one picture before they are thinned out.

    Attributes:
        boxes: ``(K, 4)`` left, top, right, bottom in pixels of the network's input.
        scores: ``(K,)`` in 0..1.
        labels: ``(K,)`` indices of classes.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def recognise(path: object, outputs: Arrays, classes: int) -> str:
    """The layout that a detector's outputs have, by their shapes.

    Args:
        path: the detector's file, for the texts of errors.
        outputs: of one run on any picture.
        classes: how many the detector is to have.

    Raises:
        UsageError: more than one layout has these shapes.
        WeightsError: none has; or one would have, with another number of classes.
    """
    fitting = [name for name in LAYOUTS if fits(name, outputs, classes)]
    if "end-to-end" in fitting:  # and so the other of its shape
        corners = not _crossed(_parts("end-to-end", outputs, classes)[0])
        fitting.remove("end-to-end-centres" if corners else "end-to-end")
    if len(fitting) == 1:
        return fitting[0]
    shapes = shapes_of(outputs)
    if fitting:
        raise UsageError(f"{path}: outputs {shapes} could be {' or '.join(fitting)}: say which with --layout")
    if counts := _other_counts(outputs):
        raise WeightsError(
            f"{path}: outputs {shapes} are those of a detector with {' or '.join(counts)}, and {classes} are wanted: "
            "--classes FILE says which it knows"
        )
    raise WeightsError(f"{path}: outputs {shapes} have no known layout ({', '.join(LAYOUTS)})")


def check(path: object, layout: str, outputs: Arrays, classes: int) -> None:
    """Raises WeightsError where outputs cannot have the layout that was asked for."""
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout {layout!r}: choose from auto, {', '.join(LAYOUTS)}")
    if not fits(layout, outputs, classes):
        raise WeightsError(
            f"{path}: outputs {shapes_of(outputs)} are not of the layout {layout} with {classes} classes"
        )


def fits(layout: str, outputs: Arrays, classes: int) -> bool:
    """Whether outputs may have this layout."""
    try:
        _parts(layout, outputs, classes)
    except LookupError:
        return False
    return True


def decode(layout: str, outputs: Arrays, classes: int, size: tuple[int, int], confidence: float) -> Candidates:
    """Candidates above ``confidence``, each class of a box for itself.

    Args:
        size: height and width of the network's input.

    Raises:
        ValueError: scores that are no probabilities, or a class that the detector is not to have.
    """
    boxes, scores, labels = _parts(layout, outputs, classes)
    boxes = boxes.astype(np.float32)
    if boxes.size and np.abs(boxes).max() <= _LARGEST_PART:
        boxes = boxes * np.asarray([size[1], size[0], size[1], size[0]], np.float32)
    if layout in ("objectness", "classes", "classes-last", "end-to-end-centres"):
        boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    scores = scores.astype(np.float32)
    if scores.size and not (scores.min() >= -_SCORE_SLACK and scores.max() <= 1 + _SCORE_SLACK):  # NaN neither
        raise ValueError(f"scores from {scores.min():.3g} to {scores.max():.3g} are no probabilities (0 to 1)")
    if labels is None:
        index, label = np.nonzero(scores > confidence)
        return Candidates(boxes[index], scores[index, label], label)
    kept = scores > confidence
    if _crossed(boxes[kept]):
        raise ValueError("a box's right lies left of its left: are they centres and sizes (end-to-end-centres)?")
    found = labels[kept].astype(np.int64)
    if found.size and not 0 <= found.min() <= found.max() < classes:
        wrong = found.max() if found.max() >= classes else found.min()
        raise ValueError(f"it found an object of class {wrong}, and has 0 to {classes - 1}")
    return Candidates(boxes[kept], scores[kept], found)


def shapes_of(outputs: Arrays) -> str:
    return ", ".join(str(tuple(output.shape)) for output in outputs)


_Parts = tuple[Array, Array, "Array | None"]


def _parts(layout: str, outputs: Arrays, classes: int) -> _Parts:
    """Boxes ``(N, 4)`` as they are, scores ``(N, C)`` or, with labels ``(N,)``, ``(N,)``.

    Raises:
        LookupError: the outputs have not this layout.
    """
    # (1, N, 1, 4) is (1, N, 4); other maps of features are not looked at
    flat = [o[:, :, 0] if o.ndim == 4 and o.shape[2:] == (1, 4) else o for o in outputs]
    flat = [o[0] for o in flat if o.ndim in (2, 3) and o.shape[0] == 1]
    tables, columns = [o for o in flat if o.ndim == 2], [o for o in flat if o.ndim == 1]
    if layout in ("objectness", "classes", "classes-last", "end-to-end", "end-to-end-centres"):
        (table,) = _exactly(tables, 1)
        if columns:
            raise LookupError
        table = table.T if layout == "classes" else table
        skipped = {"objectness": 5, "classes": 4, "classes-last": 4}
        finished = layout in FINISHED
        if table.shape[1] != (6 if finished else skipped[layout] + classes):
            raise LookupError
        if finished:
            return table[:, :4], table[:, 4], table[:, 5]
        scores = table[:, skipped[layout] :]
        return table[:, :4], scores * table[:, 4:5] if layout == "objectness" else scores, None
    if layout == "boxes-scores":
        boxes, scores = _exactly(tables, 2)
        if boxes.shape[1] != 4:
            boxes, scores = scores, boxes
        if columns or boxes.shape[1] != 4 or scores.shape != (len(boxes), classes):
            raise LookupError
        return boxes, scores, None
    (boxes,) = _exactly(tables, 1)
    if layout == "dets-labels":
        (labels,) = _exactly(columns, 1)
        if boxes.shape[1] != 5 or len(labels) != len(boxes):
            raise LookupError
        return boxes[:, :4], boxes[:, 4], labels
    whole = [c for c in columns if c.dtype.kind in "iu" and len(c) == len(boxes)]
    floating = [c for c in columns if c.dtype.kind == "f" and len(c) == len(boxes)]
    (labels,), (scores,) = _exactly(whole, 1), _exactly(floating, 1)
    if boxes.shape[1] != 4:
        raise LookupError
    counts = [c for c in columns if c.dtype.kind in "iu" and c.shape == (1,) and c is not labels]
    end = int(counts[0][0]) if counts else len(boxes)
    return boxes[:end], scores[:end], labels[:end]


def _crossed(boxes: Array) -> bool:
    """Whether boxes ``(N, 4)`` that ought to be corners are none: some end before they begin."""
    return bool((boxes[:, 2:] < boxes[:, :2] - _CORNER_SLACK).any())


def _exactly(found: list[Array], count: int) -> list[Array]:
    if len(found) != count:
        raise LookupError
    return found


def _other_counts(outputs: Arrays) -> list[str]:
    """Numbers of classes with which outputs would have a layout, most likely first."""
    tables = [o for o in outputs if o.ndim == 3 and o.shape[0] == 1]
    if len(tables) == 1:
        rows, columns = tables[0].shape[1:]
        if columns > rows >= 5:
            return [f"{rows - 4} classes"]
        if rows >= columns >= 6:
            return [f"{columns - 5} classes and objectness", f"{columns - 4} classes"]
    if len(outputs) == 2:
        boxes, scores = sorted((o for o in outputs), key=lambda o: o.shape[-1] != 4)
        if boxes.shape[-1] == 4 and scores.ndim == 3 and scores.shape[:2] == boxes.shape[:2]:
            return [f"{scores.shape[2]} classes"]
    return []
