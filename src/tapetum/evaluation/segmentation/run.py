"""Runs a segmenter over a data set, picture by picture, and draws what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.segmentation import IGNORED, Classes, Segmented, coloured, read_labels
from tapetum.errors import InputError, os_reason
from tapetum.evaluation.segmentation.scoring import Confusion, Scores
from tapetum.evaluation.segmentation.segmenter import Segmenter
from tapetum.imaging import write_picture
from tapetum.imaging.comparison import side_by_side

DARK = "dark"
Load = Callable[[Path], NDArray[np.uint8]]


@dataclass(frozen=True)
class Result:
    """What a segmenter achieved on the pictures as they are (``DARK``) or as a model made them."""

    name: str
    scores: Scores


def segment(
    segmenter: Segmenter, items: Sequence[Segmented], classes: Classes, load: Load, confusion: Confusion
) -> Iterator[Segmented]:
    """Counts the pixels of every picture into ``confusion``, one picture in memory at a time; each as it is done.

    Raises:
        InputError: a picture cannot be read, or labels have another size.
    """
    for item in items:
        image, labels = load(item.picture), read_labels(item, classes)
        if image.shape[:2] != labels.shape:
            raise InputError(
                f"{item.labels}: {labels.shape[1]}x{labels.shape[0]} pixels, and the picture {item.picture} has "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        confusion.add(labels, segmenter(image))
        yield item


def save_examples(
    folder: Path,
    segmenter: Segmenter,
    items: Sequence[Segmented],
    classes: Classes,
    loads: dict[str, Load],
    count: int,
) -> list[Path]:
    """Pictures "before" with what is found in the dark, "after" with what is found in a model's, "target": the labels;
    of ``count`` pictures, spread evenly, for each model.

    Raises:
        InputError: a file or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {os_reason(error)}") from None
    total, paths = len(items), []
    for index in sorted({i * total // min(count, total) for i in range(min(count, total))}):
        item = items[index]
        labels = coloured(read_labels(item, classes), classes.colours)
        seen = {}
        for name, load in loads.items():
            image = load(item.picture)
            seen[name] = _over(image, segmenter(image), classes)
        before = seen.pop(DARK)
        for name, after in seen.items():
            paths.append(folder / f"{item.name.replace('/', '-')}-{name.replace('/', '-')}.jpg")
            write_picture(side_by_side({"before": before, "after": after, "target": labels}), paths[-1])
    return paths


def _over(image: NDArray[np.uint8], found: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    """The picture, half as bright, under the colours of its classes."""
    return (image // 2 + coloured(found, classes.colours) // 2).astype(np.uint8)


def as_dict(items: Sequence[Segmented], segmenter: Segmenter, classes: Classes, results: Sequence[Result]) -> Any:
    """The whole report for programs; figures of classes without pixels are None."""
    return {
        "pictures": len(items),
        "ignored": IGNORED,
        "segmenter": segmenter.path.name,
        "results": [
            {
                "name": result.name,
                "mean_iou": result.scores.mean_iou,
                "accuracy": result.scores.accuracy,
                "iou": {
                    name: None if value != value else value
                    for name, value in zip(classes.names, result.scores.iou, strict=True)
                },
            }
            for result in results
        ],
    }


def rows(classes: Classes, results: Sequence[Result]) -> list[list[str]]:
    """Lines of a table with a heading: one for each result and class, and the mean."""
    lines = [["name", "class", "pixels", "iou"]]
    for result in results:
        scores = result.scores
        for name, pixels, value in zip(classes.names, scores.pixels, scores.iou, strict=True):
            lines.append([result.name, name, str(pixels), "" if value != value else f"{value:.6f}"])
        lines.append([result.name, "mean", str(sum(scores.pixels)), f"{scores.mean_iou:.6f}"])
    return lines
