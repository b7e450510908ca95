"""Runs a detector over a data set, picture by picture, and draws what it found."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.detection import DetectionSet, LabelledPicture
from tapetum.errors import InputError
from tapetum.evaluation.detection import scoring
from tapetum.evaluation.detection.detector import Detections, Detector
from tapetum.evaluation.detection.scoring import MEASURES, Score
from tapetum.evaluation.enhanced import Load, spread
from tapetum.imaging import write_picture
from tapetum.imaging.comparison import side_by_side
from tapetum.imaging.drawing import draw_box
from tapetum.imaging.replacing import make_folder

_WHITE = (255, 255, 255)
HEADINGS = {"ap50": "AP50", "ap50_95": "AP50:95", "ap50_voc": "VOC AP50"}
"""What people call the measures of a score."""
LEAST = 0.25
"""Score of boxes that are worth drawing."""


@dataclass(frozen=True)
class Result:
    """What a detector achieved on the pictures as they are (``DARK``) or as a model made them.

    Attributes:
        name: ``DARK`` or the model's.
        detections: of every picture, in the data set's order.
        scores: of every class and their mean.
    """

    name: str
    detections: list[Detections]
    scores: list[Score]


def detect(detector: Detector, data: DetectionSet, load: Load) -> Iterator[Detections]:
    """What is found in every picture, one picture in memory at a time.

    Args:
        load: a file to ``(H, W, 3)`` uint8.

    Raises:
        InputError: a picture cannot be read, or has not the size of its annotation.
    """
    for picture in data.pictures:
        image = load(picture.path)
        if image.shape[:2] != (picture.height, picture.width):
            raise InputError(
                f"{picture.path}: {image.shape[1]}x{image.shape[0]} pixels, and its boxes are of a picture of "
                f"{picture.width}x{picture.height}"
            )
        yield detector(image)


def evaluate(
    detector: Detector,
    data: DetectionSet,
    name: str,
    load: Load,
    track: Callable[[Iterator[Detections]], Iterable[Detections]] = iter,
) -> Result:
    """Everything of :func:`detect`, which ``track`` may watch, and its scores.

    Raises:
        InputError: as :func:`detect`. MissingExtraError: the extra "detect" is not installed.
    """
    detections = list(track(detect(detector, data, load)))
    return Result(name, detections, scoring.score(data, detections))


def draw(
    image: NDArray[np.uint8], picture: LabelledPicture, found: Detections, classes: Sequence[str], least: float
) -> NDArray[np.uint8]:
    """A copy of the picture with its true boxes in thin white and what was found in the colour of its class.

    Args:
        least: boxes with lower scores are left out.
    """
    drawn = image.copy()
    for box in picture.boxes:
        draw_box(drawn, (box.left, box.top, box.left + box.width, box.top + box.height), _WHITE, thin=True)
    for box, score, label in reversed(list(zip(found.boxes, found.scores, found.labels, strict=True))):
        if score >= least:  # the best at last, on top
            draw_box(drawn, box.tolist(), colour(int(label), len(classes)), f"{classes[label]} {score:.2f}")
    return drawn


def colour(index: int, count: int) -> tuple[int, int, int]:
    """One of ``count`` colours that differ in hue."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(index / max(count, 1), 0.85, 1))
    return red, green, blue


def save_examples(
    folder: Path, data: DetectionSet, before: Result, after: Result, loads: tuple[Load, Load], count: int, least: float
) -> list[Path]:
    """Before/after pictures with boxes, of ``count`` pictures spread evenly over the data set.

    Raises:
        InputError: a file or the folder cannot be written.
    """
    paths = []
    make_folder(folder)
    for index in spread(len(data.pictures), count):
        picture = data.pictures[index]
        panels = {
            label: draw(load(picture.path), picture, result.detections[index], data.classes, least)
            for label, load, result in zip(("before", "after"), loads, (before, after), strict=True)
        }
        paths.append(folder / f"{picture.path.stem}-{after.name.replace('/', '-')}.jpg")
        write_picture(side_by_side(panels), paths[-1])
    return paths


def as_dict(data: DetectionSet, detector: Detector, results: Iterable[Result]) -> dict[str, Any]:
    """The whole report for programs; figures of classes without objects are None."""
    return {
        "split": data.split,
        "pictures": len(data.pictures),
        "objects": sum(len(picture.boxes) for picture in data.pictures),
        "detector": {
            "file": detector.path.name,
            "layout": detector.layout,
            "input": {"height": detector.size[0], "width": detector.size[1]},
            "confidence": detector.settings.confidence,
            "iou": detector.settings.iou,
            "most": detector.settings.most,
        },
        "results": [{"name": result.name, "scores": [_plain(score) for score in result.scores]} for result in results],
    }


def rows(results: Iterable[Result]) -> list[list[str]]:
    """Lines of a table with a heading: one for each result and class."""
    lines = [["name", "class", "objects", "found", *MEASURES]]
    for result in results:
        for score in result.scores:
            figures = [_plain(score)[measure] for measure in MEASURES]
            texts = ["" if figure is None else f"{figure:.6f}" for figure in figures]
            lines.append([result.name, score.name, str(score.objects), str(score.found), *texts])
    return lines


def _plain(score: Score) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in asdict(score).items()}  # NaN is not JSON
