"""How good detections are: average precision, by COCO's rules and by VOC's.

COCO's (precision at 101 values of recall, from faster-coco-eval) at an overlap of 0.5, and its mean over overlaps from
0.5 to 0.95; and the area under the interpolated curve at an overlap of 0.5, as Pascal VOC has it since 2010 and the
published ExDark figures (IAT, Retinexformer) have it. At most 100 boxes a picture are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tapetum.data.detection import DetectionSet, LabelledPicture
from tapetum.data.detection_files import coco_of
from tapetum.errors import require
from tapetum.evaluation.detection.boxes import overlaps
from tapetum.evaluation.detection.detector import Detections

MEAN = "mean"
MEASURES = ("ap50", "ap50_95", "ap50_voc")
_MOST = 100


@dataclass(frozen=True)
class Score:
    """Figures of one class, or their mean over classes that have objects.

    Attributes:
        name: the class, or ``MEAN``.
        objects: how many the pictures have.
        found: detections of it.
        ap50, ap50_95: COCO's average precision at an overlap of 0.5, and from 0.5 to 0.95; NaN without objects.
        ap50_voc: Pascal VOC's at 0.5.
    """

    name: str
    objects: int
    found: int
    ap50: float
    ap50_95: float
    ap50_voc: float


def score(data: DetectionSet, detections: Sequence[Detections]) -> list[Score]:
    """Scores of every class, in the data set's order, and their mean at last.

    Args:
        detections: of every picture, in the data set's order.

    Raises:
        MissingExtraError: the extra "detect" is not installed.
    """
    coco = _coco_precision(data, detections)
    scores = []
    for index, name in enumerate(data.classes):
        objects = sum(box.category == index for picture in data.pictures for box in picture.boxes)
        found = sum(int((each.labels == index).sum()) for each in detections)
        ap50, ap50_95 = coco[index] if objects else (math.nan, math.nan)
        scores.append(Score(name, objects, found, ap50, ap50_95, voc_average_precision(data, detections, index)))
    counted = [s for s in scores if s.objects]
    means = [float(np.mean([getattr(s, measure) for s in counted])) if counted else math.nan for measure in MEASURES]
    return [*scores, Score(MEAN, sum(s.objects for s in scores), sum(s.found for s in scores), *means)]


def voc_average_precision(
    data: DetectionSet, detections: Sequence[Detections], category: int, overlap: float = 0.5
) -> float:
    """Area under the precision-recall curve of a class, the precision made monotone; NaN where it has no objects.

    Each detection, best first, is right if the object that it overlaps most does so by at least ``overlap`` and was not
    found before.
    """
    truths = [_corners(picture, category) for picture in data.pictures]
    total = sum(len(truth) for truth in truths)
    if total == 0:
        return math.nan
    hits: list[tuple[float, bool]] = []
    for truth, found in zip(truths, detections, strict=True):
        taken = np.zeros(len(truth), bool)
        chosen = [i for i in np.argsort(-found.scores, kind="stable")[:_MOST] if found.labels[i] == category]
        for i in chosen:
            shares = overlaps(found.boxes[i : i + 1], truth)[0]
            best = int(shares.argmax()) if len(truth) else 0
            right = len(truth) > 0 and shares[best] >= overlap and not taken[best]
            if right:
                taken[best] = True
            hits.append((float(found.scores[i]), bool(right)))
    hits.sort(key=lambda hit: -hit[0])
    right = np.cumsum([hit for _, hit in hits])
    recall = np.concatenate([[0.0], right / total])
    precision = np.concatenate([right / np.arange(1, len(hits) + 1), [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1][: len(hits)]
    return float(np.sum(np.diff(recall) * precision))


def _coco_precision(data: DetectionSet, detections: Sequence[Detections]) -> list[tuple[float, float]]:
    """For every class: AP at 0.5, and from 0.5 to 0.95."""
    require("faster_coco_eval", "detect", "average precision")
    from faster_coco_eval import COCO, COCOeval_faster

    results = [
        {
            "image_id": number,
            "category_id": int(label) + 1,
            "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
            "score": float(confidence),
        }
        for number, found in enumerate(detections, 1)
        for (left, top, right, bottom), confidence, label in zip(found.boxes, found.scores, found.labels, strict=True)
    ]
    if not results:
        return [(0.0, 0.0)] * len(data.classes)
    truth = COCO(coco_of(data))
    evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=lambda *_: None)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[..., 0, -1]  # (overlap, recall, class): all areas, 100 boxes
    return [(float(p[0].mean()), float(p.mean())) for p in precision.transpose(2, 0, 1)]


def _corners(picture: LabelledPicture, category: int) -> np.ndarray:
    boxes = [(b.left, b.top, b.left + b.width, b.top + b.height) for b in picture.boxes if b.category == category]
    return np.asarray(boxes, np.float64).reshape(-1, 4)
