"""Data sets of boxes in the formats that trainers of detectors take: COCO's JSON, and folders of YOLO text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tapetum.data.detection import DetectionSet, write_yolo_annotation
from tapetum.errors import InputError, os_reason
from tapetum.imaging.replacing import write_whole


def coco_of(data: DetectionSet) -> dict[str, Any]:
    """The content of a COCO annotation file. Numbers of pictures, boxes and categories count from 1; file names are
    relative to the data set's folder."""
    images, annotations = [], []
    for number, picture in enumerate(data.pictures, 1):
        name = picture.path.relative_to(data.folder).as_posix()
        images.append({"id": number, "file_name": name, "width": picture.width, "height": picture.height})
        for box in picture.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": box.category + 1,
                    "bbox": [box.left, box.top, box.width, box.height],
                    "area": box.width * box.height,
                    "iscrowd": 0,
                    "segmentation": [],
                }
            )
    categories = [{"id": index, "name": name, "supercategory": ""} for index, name in enumerate(data.classes, 1)]
    info = {"description": f"{data.folder.name}, {data.split}"}
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}


def write_coco(data: DetectionSet, file: Path) -> None:
    """COCO JSON. Raises InputError: the file cannot be written."""
    _write(json.dumps(coco_of(data)) + "\n", file)


def write_yolo(parts: Sequence[DetectionSet], folder: Path) -> None:
    """``images/SPLIT/`` (copies), ``labels/SPLIT/``, ``classes.txt``, and ``data.yaml`` as trainers of YOLO take it.

    Args:
        parts: splits of one data set.

    Raises:
        InputError: something cannot be written.
    """
    try:
        for data in parts:
            images, labels = folder / "images" / data.split, folder / "labels" / data.split
            for place in (images, labels):
                place.mkdir(parents=True, exist_ok=True)
            for picture in data.pictures:
                write_whole(picture.path.read_bytes(), images / picture.path.name)
                write_yolo_annotation(picture, labels / f"{picture.path.stem}.txt")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {os_reason(error)}") from None
    classes = parts[0].classes
    _write("".join(f"{name}\n" for name in classes), folder / "classes.txt")
    # JSON strings are YAML's too, whatever characters the names have
    lines = [f"path: {json.dumps(folder.resolve().as_posix())}"]
    places = {data.split: f"images/{data.split}" for data in parts}
    if list(places) == ["all"]:  # pictures that are not split: trainers want both all the same
        places = dict.fromkeys(("train", "val"), *places.values())
    lines += [f"{name}: {place}" for name, place in places.items()]
    lines += ["names:", *(f"  {index}: {json.dumps(name)}" for index, name in enumerate(classes))]
    _write("\n".join(lines) + "\n", folder / "data.yaml")


def _write(text: str, file: Path) -> None:
    try:
        write_whole(text, file)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {os_reason(error)}") from None
