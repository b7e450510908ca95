"""The same boxes in every layout: recognised by the shapes, and read back."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.errors import UsageError, WeightsError
from tapetum.evaluation.detection.layouts import LAYOUTS, check, decode, recognise

CLASSES = 12
SIZE = (64, 96)
COUNT = 40
CORNERS = np.asarray([[10, 20, 40, 60], [5, 6, 95, 63], [50, 10, 60, 20]], np.float32)
SCORES = np.asarray([0.9, 0.6, 0.3], np.float32)
LABELS = np.asarray([3, 11, 0])


def outputs_of(layout, classes=CLASSES, normalised=False, count=COUNT):
    """The three boxes among ``count``, the others with scores of 0."""
    corners = np.zeros((count, 4), np.float32)
    corners[:, 2:] = 8
    corners[:3] = CORNERS
    if normalised:
        corners /= np.asarray([96, 64, 96, 64], np.float32)
    middle = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    one = np.zeros(count, np.float32)
    one[:3] = SCORES
    labels = np.zeros(count, np.int64)
    labels[:3] = LABELS
    table = np.zeros((count, classes), np.float32)
    table[np.arange(3), LABELS] = SCORES
    if layout == "objectness":
        sure = np.where(one > 0, np.float32(0.96), 0)[:, None].astype(np.float32)
        return [np.concatenate([middle, sure, table / np.float32(0.96)], axis=1)[None]]
    if layout == "classes":
        return [np.concatenate([middle, table], axis=1).T[None]]
    if layout == "classes-last":
        return [np.concatenate([middle, table], axis=1)[None]]
    if layout == "end-to-end":
        return [np.concatenate([corners, one[:, None], labels[:, None].astype(np.float32)], axis=1)[None]]
    if layout == "end-to-end-centres":
        return [np.concatenate([middle, one[:, None], labels[:, None].astype(np.float32)], axis=1)[None]]
    if layout == "boxes-scores":
        return [corners[None], table[None]]
    if layout == "dets-labels":
        return [np.concatenate([corners, one[:, None]], axis=1)[None], labels[None]]
    assert layout == "boxes-scores-labels"
    return [np.asarray([[3]], np.int32), corners[None], one[None], labels[None].astype(np.int32)]


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout, normalised):
    outputs = outputs_of(layout, normalised=normalised)
    assert recognise("d.onnx", outputs, CLASSES) == layout
    check("d.onnx", layout, outputs, CLASSES)
    found = decode(layout, outputs, CLASSES, SIZE, 0.1)
    order = np.argsort(-found.scores)
    np.testing.assert_allclose(found.boxes[order], CORNERS, atol=1e-4)
    np.testing.assert_allclose(found.scores[order], SCORES, atol=1e-6)
    assert found.labels[order].tolist() == LABELS.tolist()


def test_centres_taken_for_corners():
    """Both are six columns. Where it was not seen at once, it is said as soon as a box shows it."""
    with pytest.raises(ValueError, match=r"right lies left of its left: are they .* \(end-to-end-centres\)"):
        decode("end-to-end", outputs_of("end-to-end-centres"), CLASSES, SIZE, 0.1)


def test_what_lies_beside_is_left_alone():
    """Old exports of YOLOv5 put out their feature maps too; YOLOv4's boxes have an axis more; order does not matter."""
    maps = [np.zeros((1, 3, side, side, 5 + CLASSES), np.float32) for side in (8, 4, 2)]
    assert recognise("d.onnx", [*outputs_of("objectness"), *maps], CLASSES) == "objectness"
    boxes, scores = outputs_of("boxes-scores")
    assert recognise("d.onnx", [scores, boxes[:, :, None]], CLASSES) == "boxes-scores"
    assert len(decode("boxes-scores", [scores, boxes[:, :, None]], CLASSES, SIZE, 0.1).scores) == 3


def test_every_class_of_a_box_counts_for_itself():
    outputs = outputs_of("classes")
    outputs[0][0, 4 + 7, 0] = 0.5
    found = decode("classes", outputs, CLASSES, SIZE, 0.1)
    assert sorted(zip(found.labels.tolist(), (round(s, 3) for s in found.scores.tolist()), strict=True)) == [
        (0, 0.3),
        (3, 0.9),
        (7, 0.5),
        (11, 0.6),
    ]


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 1000)],
        [(1, 21, 64, 64)],
        [(1, 3, 20, 20, 17), (1, 3, 10, 10, 17)],
        [(2, 40, 17)],
        [(1, 40, 4)],
        [],
    ],
)
def test_unknown_layouts(shapes):
    """One line that says the shapes."""
    outputs = [np.zeros(shape, np.float32) for shape in shapes]
    with pytest.raises(WeightsError) as caught:
        recognise("d.onnx", outputs, CLASSES)
    text = str(caught.value)
    assert text.startswith("d.onnx: outputs ")
    assert "have no known layout (objectness, classes," in text
    assert all(str(shape) in text for shape in shapes)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("shapes", "count"),
    [
        ([(1, 84, 8400)], "with 80 classes, and 12 are wanted"),
        ([(1, 25200, 85)], "with 80 classes and objectness or 81 classes, and 12 are wanted"),
        ([(1, 300, 4), (1, 300, 80)], "with 80 classes, and 12 are wanted"),
    ],
)
def test_other_numbers_of_classes(shapes, count):
    with pytest.raises(WeightsError, match=count):
        recognise("d.onnx", [np.zeros(shape, np.float32) for shape in shapes], CLASSES)


@pytest.mark.parametrize(
    ("classes", "shape", "names"),
    [(1, (1, 40, 6), "objectness or end-to-end"), (2, (1, 40, 6), "classes-last or end-to-end")],
)
def test_two_readings(classes, shape, names):
    outputs = [np.zeros(shape, np.float32)]
    with pytest.raises(UsageError, match=f"could be {names}: say which with --layout"):
        recognise("d.onnx", outputs, classes)
    check("d.onnx", "end-to-end", outputs, classes)


def test_a_layout_that_was_asked_for():
    with pytest.raises(UsageError, match="unknown layout 'yolo': choose from auto, objectness"):
        check("d.onnx", "yolo", outputs_of("classes"), CLASSES)
    with pytest.raises(WeightsError, match=r"outputs \(1, 16, 40\) are not of the layout objectness with 12 classes"):
        check("d.onnx", "objectness", outputs_of("classes"), CLASSES)


@pytest.mark.parametrize("value", [3.5, -2.0, np.nan])
def test_scores_that_are_none(value):
    """What comes before the last sigmoid is refused, and not read as a good score."""
    outputs = outputs_of("classes")
    outputs[0][0, 6, 5] = value
    with pytest.raises(ValueError, match="are no probabilities"):
        decode("classes", outputs, CLASSES, SIZE, 0.1)


def test_a_class_that_the_data_has_not():
    outputs = outputs_of("end-to-end")
    outputs[0][0, 1, 5] = 40
    with pytest.raises(ValueError, match="it found an object of class 40, and has 0 to 11"):
        decode("end-to-end", outputs, CLASSES, SIZE, 0.1)
