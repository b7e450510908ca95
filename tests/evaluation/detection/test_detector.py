"""A picture's way into a detector and the boxes' way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.errors import UsageError, WeightsError
from tapetum.evaluation.detection.detector import Detector, Settings, letterbox

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

CLASSES = ("square", "disc")
NAMES = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}


@pytest.fixture
def make(tmp_path):
    """Writes a detector that finds the same boxes whatever it sees, unless it sees ``brighter`` pixels on the whole.

    ``rows``: x, y, width, height in the network's input, and a score for each class.
    """

    def write(rows, shape=(1, 3, 64, 96), kind=TensorProto.FLOAT, names=None, inputs=("images",)):
        table = np.asarray(rows, NAMES[kind]).T[None]
        nodes = [
            helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["mean", "none"], ["zero4"]),
            helper.make_node("Reshape", ["zero4", "shape3"], ["zero"]),
            helper.make_node("Add", ["table", "zero"], ["output"]),
        ]
        constants = {
            "table": table,
            "none": np.asarray(0, NAMES[kind]),
            "axes": np.asarray([0, 1, 2, 3], np.int64),
            "shape3": np.asarray([1, 1, 1], np.int64),
        }
        graph = helper.make_graph(
            nodes,
            "detector",
            [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
            [helper.make_tensor_value_info("output", kind, table.shape)],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        if names is not None:
            helper.set_model_props(model, {"names": str(names)})
        path = tmp_path / "detector.onnx"
        onnx.save(model, path)
        return path

    return write


def padded(rows, count=30):
    """With boxes of no score, so that there are more boxes than columns."""
    return [*rows, *[(1, 1, 1, 1, 0, 0)] * (count - len(rows))]


@settings(max_examples=60)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 3), st.integers(1, 3))
def test_letterbox(height, width, rows, columns):
    """The picture lies in the middle, in its ratio to a pixel, and is as large as it can be."""
    image = np.full((height, width, 3), 255, np.uint8)
    framed, scale, (left, top) = letterbox(image, 32 * rows, 32 * columns)
    assert framed.shape == (32 * rows, 32 * columns, 3)
    inside = np.argwhere((framed == 255).all(axis=2))
    first, last = inside.min(axis=0), inside.max(axis=0) + 1
    assert tuple(first) == (top, left)
    assert tuple(last - first) == (max(1, round(height * scale)), max(1, round(width * scale)))
    assert ((framed == 114) | (framed == 255)).all()
    assert min(32 * rows - (last - first)[0], 32 * columns - (last - first)[1]) == 0
    assert abs((32 * rows - last[0]) - first[0]) <= 1
    assert abs((32 * columns - last[1]) - first[1]) <= 1


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_boxes_come_back_in_pixels_of_the_picture(make, kind):
    """64x96 seen as 200x150: scaled by 0.32 with 16 columns of grey on the left... whatever lies outside is cut."""
    path = make(padded([(48, 32, 32, 16, 0.5, 0.75), (10, 60, 40, 20, 0.25, 0)]), kind=kind)
    found = Detector(path, CLASSES)(np.zeros((200, 150, 3), np.uint8))
    scale, left = 64 / 200, (96 - 48) / 2
    first = [(32 - left) / scale, 24 / scale, (64 - left) / scale, 40 / scale]
    np.testing.assert_allclose(found.boxes[:2], [first, first], atol=0.05)  # both classes of one box
    np.testing.assert_allclose(found.boxes[2], [0, 50 / scale, (30 - left) / scale, 200], atol=0.1)
    assert found.labels.tolist() == [1, 0, 0]
    np.testing.assert_allclose(found.scores, [0.75, 0.5, 0.25])


def test_what_overlaps_is_found_once(make):
    rows = [(48, 32, 32, 16, 0.5, 0), (49, 32, 32, 16, 0.9, 0), (48, 33, 32, 16, 0, 0.4), (10, 10, 9, 9, 0.004, 0)]
    path = make(padded(rows))
    image = np.zeros((64, 96, 3), np.uint8)
    found = Detector(path, CLASSES)(image)
    assert [(label, round(float(score), 2)) for label, score in zip(found.labels, found.scores, strict=True)] == [
        (0, 0.9),
        (1, 0.4),
    ]
    assert len(Detector(path, CLASSES, Settings(iou=0.99))(image).scores) == 3
    assert len(Detector(path, CLASSES, Settings(confidence=0.6))(image).scores) == 1
    assert len(Detector(path, CLASSES, Settings(most=1))(image).scores) == 1


def test_an_open_size(make):
    path = make(padded([]), shape=("batch", 3, "height", "width"))
    assert Detector(path, CLASSES).size == (640, 640)
    assert Detector(path, CLASSES, Settings(size=320)).size == (320, 320)
    assert len(Detector(path, CLASSES)(np.zeros((20, 30, 3), np.uint8)).scores) == 0


@pytest.mark.parametrize(
    "options",
    [{"shape": (1, 64, 96, 3)}, {"shape": (8, 3, 64, 96)}, {"inputs": ("images", "sizes")}],
)
def test_other_inputs(make, options):
    with pytest.raises(WeightsError, match=r"a detector has one input of floats .*, this has images"):
        Detector(make(padded([]), **options), CLASSES)


def test_names_in_the_file_are_counted(make):
    """Where the file says its classes, a wrong data set is refused whatever the shapes are."""
    path = make(padded([]), names={0: "a", 1: "b", 2: "c"})
    with pytest.raises(WeightsError, match="a detector of 3 classes, and the data set has 2"):
        Detector(path, CLASSES)


def test_scores_that_are_none(make):
    path = make(padded([(48, 32, 32, 16, 7.5, 0)]))
    with pytest.raises(WeightsError, match=r"detector\.onnx \(layout classes\): scores from 0 to 7\.5 are no prob"):
        Detector(path, CLASSES)(np.zeros((64, 96, 3), np.uint8))


def test_classes_that_the_data_set_has_not(make):
    """A detector of three classes on a data set of two: the third is left out, even where it is the best."""
    rows = [(48, 32, 32, 16, 0.3, 0.9, 0.1), (20, 20, 8, 8, 0.2, 0, 0.6)]
    path = make([*rows, *[(1, 1, 1, 1, 0, 0, 0)] * 28])
    found = Detector(path, CLASSES, knows=("Disc", "person", "Square"))(np.zeros((64, 96, 3), np.uint8))
    scores = [round(float(score), 2) for score in found.scores]
    assert list(zip(found.labels.tolist(), scores, strict=True)) == [(0, 0.6), (1, 0.3), (1, 0.2), (0, 0.1)]
    with pytest.raises(UsageError, match="the detector does not know the data set's class square"):
        Detector(path, CLASSES, knows=("disc", "person", "bicycle"))
