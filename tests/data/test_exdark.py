"""The reader of ExDark: both kinds of annotation files, splits, and one clear line for what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tapetum.data.detection import Box, LabelledPicture, read_annotation, write_yolo_annotation
from tapetum.data.exdark import CLASSES, read_classes, read_detection_set, read_split_list
from tapetum.errors import InputError, UsageError

BBGT = "% bbGt version=3\nBicycle 20 28 71 53 0 0 0 0 0 0 0\nPeople 0 10 50 90 0 0 0 0 0 0 0\n"
HEADING = "Name | Class | Light | In/Out | Train/Val/Test\r\n"


@pytest.fixture
def archive(tmp_path, picture, text):
    """A folder as the archives of ExDark give it: a subfolder for each class, and the list of splits."""
    for name in ("2015_00001.png", "2015_00002.JPG", "2015_00700.jpg"):
        kind = "Bicycle" if name < "2015_006" else "Boat"
        picture(f"ExDark/{kind}/{name}")
        text(f"ExDark_Annno/{kind}/{name}.txt", BBGT)
    lines = ["2015_00001.png 1 2 1 1", "2015_00002.jpg 1 6 2 3", "2015_00700.jpg 2 5 2 3"]
    text("imageclasslist.txt", HEADING + "\r\n".join(lines) + "\r\n")
    return tmp_path


def test_annotations_of_the_archive(archive):
    data = read_detection_set(archive)
    assert (data.classes, data.split) == (CLASSES, "all")
    assert [p.path.name for p in data.pictures] == ["2015_00001.png", "2015_00002.JPG", "2015_00700.jpg"]
    assert data.pictures[0].boxes == (Box(0, 20, 28, 71, 53), Box(10, 0, 10, 50, 90))
    assert (data.pictures[0].width, data.pictures[0].height) == (200, 100)


@pytest.mark.parametrize(
    ("split", "names"),
    [("train", ["2015_00001.png"]), ("test", ["2015_00002.JPG", "2015_00700.jpg"])],
)
def test_published_splits(archive, split, names):
    """The ending may differ in case from the list's."""
    data = read_detection_set(archive, split)
    assert data.split == split
    assert [p.path.name for p in data.pictures] == names


def test_a_split_of_ones_own(archive, text):
    """As other protocols list their pictures: with ending or without, in a folder or not."""
    data = read_detection_set(archive, str(text("val.txt", "Bicycle/2015_00001.png\n2015_00700\n")))
    assert data.split == "val"
    assert [p.path.name for p in data.pictures] == ["2015_00001.png", "2015_00700.jpg"]


def test_the_first_pictures(archive):
    assert [p.path.name for p in read_detection_set(archive, limit=2).pictures] == ["2015_00001.png", "2015_00002.JPG"]


def test_yolo_text_in_folders_of_splits(tmp_path, picture, text):
    picture("images/train/a.png")
    picture("images/test/b.png")
    text("labels/train/a.txt", "1 0.5 0.5 0.2 0.4\n")
    text("labels/test/b.txt", "")
    text("classes.txt", "square\ndisc\n")
    train, test = (read_detection_set(tmp_path, split) for split in ("train", "test"))
    assert train.classes == ("square", "disc")
    (box,) = train.pictures[0].boxes
    assert (box.category, box.left, box.top, box.width, box.height) == pytest.approx((1, 80, 30, 40, 40))
    assert [p.path.name for p in test.pictures] == ["b.png"]
    assert test.pictures[0].boxes == ()


def test_an_upright_picture_has_its_sides_turned(picture, text):
    """Sizes are those of the picture as it is read: turned by its orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture("a.jpg", 200, 100, exif=exif)
    labelled = read_annotation(text("a.txt", "0 0.5 0.5 1 1\n"), path, CLASSES)
    assert (labelled.width, labelled.height) == (100, 200)
    assert labelled.boxes == (Box(0, 0, 0, 100, 200),)


def test_a_box_that_sticks_out_by_rounding_is_cut(picture, text):
    path, file = picture("a.png"), text("a.png.txt", "% bbGt version=3\nCar 150 -1 51 101 0 0 0 0 0 0 0\n")
    assert read_annotation(file, path, CLASSES).boxes == (Box(4, 150, 0, 50, 100),)


def test_clip(picture, text):
    path, file = picture("a.png"), text("a.png.txt", "% bbGt version=3\nCar 150 -20 90 60\n")
    assert read_annotation(file, path, CLASSES, clip=True).boxes == (Box(4, 150, 0, 50, 40),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Lorry 1 1 5 5", "unknown class 'Lorry': the data set has Bicycle, Boat,"),
        ("Car 150 10 60 20", "the box from (150, 10) to (210, 30) lies outside of the picture, which has 200x100"),
        ("Car -3 10 60 20", "lies outside of the picture"),
        ("Car 10 90 60 20", "lies outside of the picture"),
        ("Car 10 10 0 20", "has no area"),
        ("Car 10 10 20", "needs CLASS LEFT TOP WIDTH HEIGHT"),
        ("Car 10 ten 20 20", "are no numbers"),
        ("Car 10 nan 20 20", "are no places in a picture"),
    ],
)
def test_bad_bbgt(picture, text, line, message):
    path, file = picture("a.png"), text("a.png.txt", f"% bbGt version=3\nBoat 1 1 5 5 0 0\n{line}\n")
    with pytest.raises(InputError, match=f"a.png.txt, line 3: .*{re.escape(message)}") as caught:
        read_annotation(file, path, CLASSES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("12 0.5 0.5 0.1 0.1", "unknown class '12': the data set has 0 to 11"),
        ("Car 0.5 0.5 0.1 0.1", "unknown class 'Car'"),
        ("0 0.5 0.5 0.1", "needs INDEX X Y WIDTH HEIGHT (YOLO text), or a first line that begins with % (bbGt)"),
        ("0 0.9 0.5 0.4 0.1", "lies outside of the picture"),
        ("0 0.5 0.5 0.1 inf", "are no places in a picture"),
    ],
)
def test_bad_yolo_text(picture, text, line, message):
    path, file = picture("a.png"), text("a.txt", f"{line}\n")
    with pytest.raises(InputError, match=f"a.txt, line 1: .*{re.escape(message)}"):
        read_annotation(file, path, CLASSES)


def test_wholly_outside_stays_refused(picture, text):
    path, file = picture("a.png"), text("a.png.txt", "% bbGt version=3\nCar 250 10 20 20\n")
    with pytest.raises(InputError, match="lies wholly outside"):
        read_annotation(file, path, CLASSES, clip=True)


def test_missing_pictures_of_a_split(archive):
    (archive / "ExDark/Boat/2015_00700.jpg").unlink()
    with pytest.raises(
        InputError,
        match=r"imageclasslist\.txt: 1 of the 2 pictures of test are not in .*ExDark, the first is 2015",
    ):
        read_detection_set(archive, "test")


def test_a_split_without_pictures(archive):
    with pytest.raises(InputError, match="the list has no picture of val"):
        read_detection_set(archive, "val")


def test_missing_annotation(archive):
    (archive / "ExDark_Annno/Boat/2015_00700.jpg.txt").unlink()
    with pytest.raises(InputError, match=r"2015_00700\.jpg: has no annotation"):
        read_detection_set(archive)


@pytest.mark.parametrize(
    ("gone", "split", "message"),
    [
        ("imageclasslist.txt", "test", "has neither imageclasslist.txt"),
        ("ExDark_Annno", None, "has no annotations"),
        ("ExDark", None, "holds no picture"),
        ("", None, "no such folder of a data set"),
    ],
)
def test_missing_parts(archive, gone, split, message):
    place = archive / gone if gone else archive
    place.rename(archive.with_name(f"{archive.name}-elsewhere"))
    with pytest.raises(InputError, match=message):
        read_detection_set(archive, split)


def test_unknown_split(archive):
    with pytest.raises(UsageError, match="unknown split 'tset': choose train, val, test, or give a file"):
        read_detection_set(archive, "tset")


def test_two_pictures_of_one_name(archive, picture):
    picture("ExDark/Boat/2015_00001.jpg")
    with pytest.raises(InputError, match="have one name"):
        read_detection_set(archive)


@pytest.mark.parametrize("line", ["2015_00001.png 1 2 1", "2015_00001.png 1 2 1 4", "nonsense"])
def test_bad_split_list(text, line):
    with pytest.raises(InputError, match=r"imageclasslist\.txt, line 2: needs NAME CLASS"):
        read_split_list(text("imageclasslist.txt", f"{HEADING}{line}\n"))


@pytest.mark.parametrize("content", ["", "a\nb\nA\n"])
def test_bad_classes(text, content):
    with pytest.raises(InputError, match="must name classes, one a line, each once"):
        read_classes(text("classes.txt", content))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_yolo_text_keeps_boxes(tmp_path, picture, data):
    """Written and read again, boxes are the same to a hundredth of a pixel, whatever the picture's size."""
    width, height = data.draw(st.integers(20, 90)), data.draw(st.integers(20, 90))
    boxes = []
    for _ in range(data.draw(st.integers(0, 4))):
        left, top = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
        size = data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
        boxes.append(Box(data.draw(st.integers(0, 11)), left, top, *size))
    path, file = picture("a.png", width, height), tmp_path / "a.txt"
    write_yolo_annotation(LabelledPicture(path, width, height, tuple(boxes)), file)
    again = read_annotation(file, path, CLASSES).boxes
    assert [box.category for box in again] == [box.category for box in boxes]
    for ours, theirs in zip(again, boxes, strict=True):
        assert (ours.left, ours.top, ours.width, ours.height) == pytest.approx(
            (theirs.left, theirs.top, theirs.width, theirs.height), abs=0.01
        )


def shared() -> Path:
    folder = Path(__file__).parents[3] / "shared" / "data" / "exdark"
    if not folder.is_dir():
        pytest.skip("the pictures of ExDark are not at hand (../shared/data/exdark)")
    return folder


def test_real_pictures():
    data = read_detection_set(shared())
    assert data.classes == CLASSES
    assert len(data.pictures) == 11
    assert sum(len(picture.boxes) for picture in data.pictures) == 40


def test_the_published_list():
    """3,000, 1,800 and 2,563 pictures, as the paper has it; every name once."""
    splits = read_split_list(shared() / "imageclasslist.txt")
    assert {name: len(names) for name, names in splits.items()} == {"train": 3000, "val": 1800, "test": 2563}
    assert len({Path(name).stem for names in splits.values() for name in names}) == 7363
