"""COCO's JSON and folders of YOLO text."""

from __future__ import annotations

import json

import pytest

from tapetum.data.detection import Box, DetectionSet, LabelledPicture
from tapetum.data.detection_files import write_coco, write_yolo
from tapetum.data.exdark import read_detection_set
from tapetum.errors import InputError


@pytest.fixture
def data(tmp_path, picture):
    folder = tmp_path / "data"
    first = LabelledPicture(picture("data/x/a.png"), 200, 100, (Box(1, 10, 20, 30, 40), Box(0, 0, 0, 200, 100)))
    second = LabelledPicture(picture("data/y/b.jpg", 90, 60), 90, 60, ())
    return DetectionSet(folder, ("square", 'a "disc"'), "test", (first, second))


def test_coco(data, tmp_path):
    """Read by the package that measures, and as the format says."""
    coco = pytest.importorskip("faster_coco_eval").COCO
    write_coco(data, tmp_path / "test.json")
    content = json.loads((tmp_path / "test.json").read_text())
    assert content["images"][1] == {"id": 2, "file_name": "y/b.jpg", "width": 90, "height": 60}
    assert content["categories"] == [
        {"id": 1, "name": "square", "supercategory": ""},
        {"id": 2, "name": 'a "disc"', "supercategory": ""},
    ]
    read = coco(str(tmp_path / "test.json"))
    boxes = [(a["category_id"], a["bbox"], a["area"]) for a in read.loadAnns(read.getAnnIds(imgIds=[1]))]
    assert boxes == [(2, [10, 20, 30, 40], 1200), (1, [0, 0, 200, 100], 20000)]
    assert read.getAnnIds(imgIds=[2]) == []


def test_yolo(data, tmp_path):
    """What is written is a data set that can be read again, for a trainer too."""
    yaml = pytest.importorskip("yaml")
    write_yolo([data], tmp_path / "yolo")
    content = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert content == {
        "path": str(tmp_path / "yolo"),
        "test": "images/test",
        "names": {0: "square", 1: 'a "disc"'},
    }
    again = read_detection_set(tmp_path / "yolo", "test")
    assert again.classes == data.classes
    assert [p.path.read_bytes() for p in again.pictures] == [p.path.read_bytes() for p in data.pictures]
    for ours, theirs in zip(again.pictures, data.pictures, strict=True):
        assert [(b.category, b.left, b.top, b.width, b.height) for b in ours.boxes] == [
            pytest.approx((b.category, b.left, b.top, b.width, b.height), abs=1e-4) for b in theirs.boxes
        ]


def test_not_writeable(data, tmp_path):
    with pytest.raises(InputError, match=r"missing/test\.json: cannot be written: no such file"):
        write_coco(data, tmp_path / "missing" / "test.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be written"):
        write_yolo([data], tmp_path / "file")
