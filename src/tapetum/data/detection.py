"""Pictures with boxes around objects: what detectors are trained and measured on.

Two kinds of annotation files are read, one file per picture, told apart by their first line:

* ``bbGt`` (Piotr's toolbox, ExDark's own files): a line that begins with ``%``, then one object per line, ``CLASS LEFT
  TOP WIDTH HEIGHT`` in pixels and zeros behind.
* YOLO text: one object per line, ``INDEX X Y WIDTH HEIGHT``, the centre and the size in parts of the picture's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tapetum.errors import InputError
from tapetum.imaging.header import picture_size
from tapetum.imaging.replacing import write_whole

# Annotation tools count from 0 or from 1, and texts are rounded: so far a box may stick out, and is cut
TOLERANCE = 1.0


@dataclass(frozen=True)
class Box:
    """An object: ``category`` counts the data set's classes from 0, the rest are pixels from the upper left corner."""

    category: int
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class LabelledPicture:
    """A picture file and the objects in it; ``width`` and ``height`` are the upright picture's."""

    path: Path
    width: int
    height: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class DetectionSet:
    """Pictures with boxes.

    Attributes:
        folder: where the data set lies.
        classes: names; a box's ``category`` counts them from 0.
        split: name of the part that this is, "all" for every picture in the folder.
    """

    folder: Path
    classes: tuple[str, ...]
    split: str
    pictures: tuple[LabelledPicture, ...]


def read_annotation(file: Path, picture: Path, classes: Sequence[str], clip: bool = False) -> LabelledPicture:
    """One picture with its annotation file.

    Args:
        clip: cut boxes that lie partly outside instead of refusing them; boxes wholly outside stay refused.

    Raises:
        InputError: the file or the picture cannot be read, or a line holds an unknown class, no numbers, or a box
            outside of the picture; the text names the line.
    """
    width, height = picture_size(picture)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: no annotation that can be read ({getattr(error, 'strerror', None) or error})"
        ) from None
    bbgt = bool(lines) and lines[0].startswith("%")
    boxes = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (bbgt and number == 1):
            continue
        fields = line.split()
        try:
            box = _bbgt_box(fields, classes) if bbgt else _yolo_box(fields, classes, width, height)
            boxes.append(_inside(box, width, height, clip))
        except ValueError as error:
            raise InputError(f"{file}, line {number}: {error}") from None
    return LabelledPicture(picture, width, height, tuple(boxes))


def write_yolo_annotation(picture: LabelledPicture, file: Path) -> None:
    """YOLO text for one picture; an empty file where it has no object. Raises OSError."""
    lines = []
    for box in picture.boxes:
        x, y = (box.left + box.width / 2) / picture.width, (box.top + box.height / 2) / picture.height
        lines.append(
            f"{box.category} {x:.8f} {y:.8f} {box.width / picture.width:.8f} {box.height / picture.height:.8f}\n"
        )
    write_whole("".join(lines), file)


def _bbgt_box(fields: list[str], classes: Sequence[str]) -> Box:
    if len(fields) < 5:
        raise ValueError("needs CLASS LEFT TOP WIDTH HEIGHT")
    by_name = {name.lower(): index for index, name in enumerate(classes)}
    if fields[0].lower() not in by_name:
        raise ValueError(f"unknown class {fields[0]!r}: the data set has {', '.join(classes)}")
    return Box(by_name[fields[0].lower()], *_numbers(fields[1:5]))


def _yolo_box(fields: list[str], classes: Sequence[str], width: int, height: int) -> Box:
    if len(fields) != 5:
        raise ValueError("needs INDEX X Y WIDTH HEIGHT (YOLO text), or a first line that begins with % (bbGt)")
    if not fields[0].isdecimal() or int(fields[0]) >= len(classes):
        raise ValueError(
            f"unknown class {fields[0]!r}: the data set has 0 to {len(classes) - 1} ({', '.join(classes)})"
        )
    x, y, w, h = _numbers(fields[1:])
    return Box(int(fields[0]), (x - w / 2) * width, (y - h / 2) * height, w * width, h * height)


def _numbers(fields: list[str]) -> list[float]:
    try:
        values = [float(field) for field in fields]
    except ValueError:
        raise ValueError(f"{' '.join(fields)!r} are no numbers") from None
    if not all(abs(value) < 1e6 for value in values):  # also what is not a number
        raise ValueError(f"{' '.join(fields)!r} are no places in a picture")
    return values


def _inside(box: Box, width: int, height: int, clip: bool) -> Box:
    right, bottom = box.left + box.width, box.top + box.height
    where = f"the box from ({box.left:g}, {box.top:g}) to ({right:g}, {bottom:g})"
    if box.width <= 0 or box.height <= 0:
        raise ValueError(f"{where} has no area")
    slack = TOLERANCE if not clip else float("inf")
    if min(box.left, box.top) < -slack or right > width + slack or bottom > height + slack:
        raise ValueError(f"{where} lies outside of the picture, which has {width}x{height} pixels")
    left, top, right, bottom = max(box.left, 0.0), max(box.top, 0.0), min(right, width), min(bottom, height)
    if right <= left or bottom <= top:
        raise ValueError(f"{where} lies wholly outside of the picture, which has {width}x{height} pixels")
    return Box(box.category, left, top, right - left, bottom - top)
