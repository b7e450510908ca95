"""Pictures with a class for every pixel: Cityscapes' layout and its like (Dark Zurich, ACDC), or any two folders.

Labels are pictures of the photograph's size: grey ones hold numbers (Cityscapes' ``labelIds`` or ``labelTrainIds``, or
those of a list of classes), coloured ones the colours of the classes' palette.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tapetum.errors import InputError, UsageError, os_reason
from tapetum.imaging import is_picture, read_picture

IGNORED = 255
"""The class of pixels that do not count."""
Kind = Literal["numbers", "ids", "colours"]

# name, number in "labelIds" pictures, colour: the 19 classes that Cityscapes evaluates, in the order of its train ids
_CITYSCAPES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
# what data sets add to a picture's name for the photograph, and for its labels, best first
_OF_PICTURES = re.compile(r"(_leftImg8bit|_rgb_anon|_rgb)$")
_OF_LABELS = re.compile(r"(_gtFine|_gtCoarse|_gt)?_(labelTrainIds|labelIds|labelColor|color)$|_(gtFine|gtCoarse|gt)$")
_KINDS: dict[str | None, Kind] = {
    "labelTrainIds": "numbers",
    "labelIds": "ids",
    "labelColor": "colours",
    "color": "colours",
}
_PREFERRED = ("labelTrainIds", "labelIds", None, "labelColor", "color")


@dataclass(frozen=True)
class Classes:
    """What pixels can be.

    Attributes:
        names: in the order of a segmenter's outputs.
        colours: of each, for pictures and for coloured labels.
        ids: number of each in Cityscapes' "labelIds" pictures, or None.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    ids: tuple[int, ...] | None = None


CITYSCAPES = Classes(
    tuple(name for name, _, _ in _CITYSCAPES),
    tuple(colour for _, _, colour in _CITYSCAPES),
    tuple(number for _, number, _ in _CITYSCAPES),
)


@dataclass(frozen=True)
class Segmented:
    """A photograph and the picture of its labels.

    Attributes:
        name: for tables: the photograph's path in its folder, without ending.
        kind: what the labels' values are: "numbers" of classes, Cityscapes' "ids", or, where they have colours,
            "colours".
    """

    name: str
    picture: Path
    labels: Path
    kind: Kind


def read_classes(file: Path) -> Classes:
    """A list of classes, one a line: ``NAME R G B``, where a name may have spaces.

    Raises:
        InputError: it cannot be read, or a line is none.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{file}: cannot be read: {reason}") from None
    names, colours = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = re.fullmatch(r"\s*(\S.*?)\s+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*", line)
        values = [int(value) for value in found.groups()[1:]] if found else []
        if found is None or max(values) > 255:
            raise InputError(
                f"{file}, line {number}: expected NAME R G B with numbers of 0 to 255, got {line.strip()!r}"
            )
        names.append(found.group(1))
        colours.append((values[0], values[1], values[2]))
    if not 0 < len(names) < IGNORED:
        raise InputError(f"{file}: {len(names)} classes, and there must be 1 to {IGNORED - 1}")
    return Classes(tuple(names), tuple(colours))


def find_segmented(pictures: Path, labels: Path) -> list[Segmented]:
    """The photographs below a folder with their labels from another, matched by name in the same subfolder.

    Endings of names that Cityscapes, Dark Zurich and ACDC use do not count (``_leftImg8bit``, ``_rgb_anon``;
    ``_gtFine_labelTrainIds`` ...). Of several label pictures of one photograph, train ids are taken before ids, and
    numbers before colours. Labels without a photograph are left alone.

    Raises:
        InputError: a folder is missing or empty, or a photograph has no labels.
    """
    known: dict[Path, list[tuple[int, Path, Kind]]] = {}
    for path in _below(labels):
        ending = _OF_LABELS.search(path.stem)
        what = ending.group(2) if ending else None
        place = path.relative_to(labels).with_name(_OF_LABELS.sub("", path.stem))
        known.setdefault(place, []).append((_PREFERRED.index(what), path, _KINDS.get(what, "numbers")))
    found = []
    for path in _below(pictures):
        relative = path.relative_to(pictures)
        choice = known.get(relative.with_name(_OF_PICTURES.sub("", path.stem))) or known.get(relative.with_suffix(""))
        if not choice:
            raise InputError(f"{path}: no labels for it in {labels}")
        _, file, kind = min(choice)
        found.append(Segmented(relative.with_suffix("").as_posix(), path, file, kind))
    return found


def _below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    paths = sorted(p for p in folder.rglob("*") if is_picture(p) and not p.name.startswith("."))
    if not paths:
        raise InputError(f"{folder}: holds no picture")
    return paths


def read_labels(item: Segmented, classes: Classes) -> NDArray[np.uint8]:
    """``(H, W)``: the class of every pixel, or ``IGNORED``.

    Cityscapes' ids and colours of other classes are ignored; so are numbers of 255.

    Raises:
        InputError: it cannot be read, or has values that are none.
        UsageError: ids, and the classes have none.
    """
    pixels = read_picture(item.labels).pixels
    if pixels.dtype != np.uint8:
        raise InputError(f"{item.labels}: labels are pictures of 8 bit")
    if pixels.shape[2] == 3:
        return _of_colours(item.labels, pixels, classes)
    numbers = pixels[..., 0]
    if item.kind == "ids":
        if classes.ids is None:
            raise UsageError(f"{item.labels}: Cityscapes' ids, and the classes given are not Cityscapes'")
        table = np.full(256, IGNORED, np.uint8)
        table[list(classes.ids)] = np.arange(len(classes.ids))
        return table[numbers]
    wrong = numbers[(numbers >= len(classes.names)) & (numbers != IGNORED)]
    if wrong.size:
        raise InputError(f"{item.labels}: holds the number {wrong[0]}, and there are {len(classes.names)} classes")
    return numbers


def _of_colours(file: Path, pixels: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    code = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    result = np.full(code.shape, IGNORED, np.uint8)
    for index, colour in reversed(list(enumerate(classes.colours))):
        result[code == (colour[0] << 16 | colour[1] << 8 | colour[2])] = index
    if (result == IGNORED).all():
        raise InputError(f"{file}: none of its colours is that of a class")
    return result


def coloured(labels: NDArray[np.uint8], classes: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Labels ``(H, W)`` as a picture ``(H, W, 3)`` in the colours of the classes; black where they are ignored."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(classes)] = classes
    return table[labels]
