"""Runs a segmenter over a data set, picture by picture, and draws what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.segmentation import IGNORED, Classes, Segmented, coloured, read_labels
from tapetum.errors import InputError
from tapetum.evaluation.enhanced import DARK, Load, spread
from tapetum.evaluation.segmentation.scoring import Confusion, Scores
from tapetum.evaluation.segmentation.segmenter import Segmenter
from tapetum.imaging import write_picture
from tapetum.imaging.comparison import side_by_side
from tapetum.imaging.replacing import make_folder


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


def evaluate(
    segmenter: Segmenter,
    items: Sequence[Segmented],
    classes: Classes,
    name: str,
    load: Load,
    track: Callable[[Iterator[Segmented]], Iterable[Segmented]] = iter,
) -> Result:
    """Everything of :func:`segment`, which ``track`` may watch, and its scores.

    Raises:
        InputError: as :func:`segment`, or no pixel counts.
    """
    confusion = Confusion(len(classes.names))
    for _ in track(segment(segmenter, items, classes, load, confusion)):
        pass
    try:
        return Result(name, confusion.scores())
    except ValueError as error:
        raise InputError(f"{items[0].labels.parent}: {error}: all labels are ignored") from None


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
    make_folder(folder)
    paths = []
    for index in spread(len(items), count):
        item = items[index]
        labels = coloured(read_labels(item, classes), classes.colours)
        seen = {}
        for name, load in loads.items():
            image = load(item.picture)
            seen[name] = over(image, segmenter(image), classes)
        before = seen.pop(DARK)
        for name, after in seen.items():
            paths.append(folder / f"{item.name.replace('/', '-')}-{name.replace('/', '-')}.jpg")
            write_picture(side_by_side({"before": before, "after": after, "target": labels}), paths[-1])
    return paths


def over(image: NDArray[np.uint8], found: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
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
