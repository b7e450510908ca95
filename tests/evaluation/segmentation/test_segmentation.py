"""Classes of pixels: labels as data sets have them, counts, and segmenters with their outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tapetum.data.segmentation import (
    CITYSCAPES,
    IGNORED,
    Classes,
    Kind,
    Segmented,
    coloured,
    find_segmented,
    read_classes,
    read_labels,
)
from tapetum.errors import InputError, UsageError, WeightsError
from tapetum.evaluation.segmentation.scoring import Confusion
from tapetum.evaluation.segmentation.segmenter import Segmenter
from tapetum.imaging import Picture, write_picture

TWO = Classes(("ground", "thing"), ((0, 128, 0), (200, 0, 0)))


def put(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(Picture(np.atleast_3d(pixels).astype(np.uint8)), path)
    return path


# --- labels -----------------------------------------------------------------------------------------------------------


def test_the_layout_of_cityscapes(tmp_path: Path) -> None:
    grey, rgb = np.zeros((4, 6)), np.zeros((4, 6, 3))
    put(tmp_path / "leftImg8bit" / "bonn" / "bonn_0_1_leftImg8bit.png", rgb)
    for kind in ("labelIds", "labelTrainIds", "instanceIds"):
        put(tmp_path / "gtFine" / "bonn" / f"bonn_0_1_gtFine_{kind}.png", grey)
    put(tmp_path / "gtFine" / "bonn" / "bonn_0_1_gtFine_color.png", rgb)
    (item,) = find_segmented(tmp_path / "leftImg8bit", tmp_path / "gtFine")
    assert (item.labels.name, item.kind) == ("bonn_0_1_gtFine_labelTrainIds.png", "numbers")
    item.labels.unlink()
    (item,) = find_segmented(tmp_path / "leftImg8bit", tmp_path / "gtFine")
    assert (item.labels.name, item.kind) == ("bonn_0_1_gtFine_labelIds.png", "ids")
    item.labels.unlink()
    (item,) = find_segmented(tmp_path / "leftImg8bit", tmp_path / "gtFine")
    assert (item.labels.name, item.kind) == ("bonn_0_1_gtFine_color.png", "colours")


def test_the_layouts_of_acdc_and_of_two_folders(tmp_path: Path) -> None:
    put(tmp_path / "rgb" / "GOPR" / "a_rgb_anon.png", np.zeros((4, 6, 3)))
    put(tmp_path / "rgb" / "plain.jpg", np.zeros((16, 16, 3)))
    put(tmp_path / "gt" / "GOPR" / "a_gt_labelIds.png", np.zeros((4, 6)))
    put(tmp_path / "gt" / "plain.png", np.zeros((16, 16)))
    put(tmp_path / "gt" / "more.png", np.zeros((16, 16)))
    found = find_segmented(tmp_path / "rgb", tmp_path / "gt")
    assert [(item.name, item.labels.name, item.kind) for item in found] == [
        ("GOPR/a_rgb_anon", "a_gt_labelIds.png", "ids"),
        ("plain", "plain.png", "numbers"),
    ]
    put(tmp_path / "rgb" / "lonely.png", np.zeros((4, 6, 3)))
    with pytest.raises(InputError, match=r"lonely\.png: no labels for it in .*gt"):
        find_segmented(tmp_path / "rgb", tmp_path / "gt")
    with pytest.raises(InputError, match="no such folder"):
        find_segmented(tmp_path / "rgb", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        find_segmented(tmp_path / "empty", tmp_path / "gt")


def test_ids_and_colours_are_the_same_labels(tmp_path: Path) -> None:
    truth = np.arange(20).reshape(4, 5)  # the 19 classes, and one that does not count
    truth[-1, -1] = IGNORED
    ids = np.append(CITYSCAPES.ids or (), 0)[np.minimum(truth, 19)]
    kinds: dict[Kind, np.ndarray] = {
        "numbers": truth,
        "ids": ids,
        "colours": coloured(truth.astype(np.uint8), CITYSCAPES.colours),
    }
    for kind, pixels in kinds.items():
        file = put(tmp_path / f"{kind}.png", pixels)
        found = read_labels(Segmented("p", tmp_path / "p.png", file, kind), CITYSCAPES)
        np.testing.assert_array_equal(found, truth, err_msg=kind)


def test_labels_that_are_none(tmp_path: Path) -> None:
    numbers = Segmented("p", tmp_path, put(tmp_path / "n.png", np.full((4, 4), 2)), "numbers")
    with pytest.raises(InputError, match=r"n\.png: holds the number 2, and there are 2 classes"):
        read_labels(numbers, TWO)
    with pytest.raises(UsageError, match="Cityscapes' ids, and the classes given are not"):
        read_labels(Segmented("p", tmp_path, numbers.labels, "ids"), TWO)
    foreign = put(tmp_path / "c.png", np.full((4, 4, 3), 9))
    with pytest.raises(InputError, match=r"c\.png: none of its colours is that of a class"):
        read_labels(Segmented("p", tmp_path, foreign, "colours"), TWO)
    deep = tmp_path / "deep.png"
    write_picture(Picture(np.zeros((4, 4, 1), np.uint16)), deep)
    with pytest.raises(InputError, match="labels are pictures of 8 bit"):
        read_labels(Segmented("p", tmp_path, deep, "numbers"), TWO)


def test_lists_of_classes(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("ground 0 128 0\n\ntraffic light 250, 170, 30\n")
    assert read_classes(file) == Classes(("ground", "traffic light"), ((0, 128, 0), (250, 170, 30)))
    for text, reason in (
        ("road\n", r"classes\.txt, line 1: expected NAME R G B.*'road'"),
        ("road 1 2 300\n", "line 1"),
        ("", "0 classes, and there must be 1 to 254"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=reason):
            read_classes(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_classes(tmp_path / "none.txt")


# --- scores -----------------------------------------------------------------------------------------------------------


def test_scores_by_hand() -> None:
    confusion = Confusion(3)
    confusion.add(np.array([[0, 0, 1, IGNORED]], np.uint8), np.array([[0, 1, 1, 2]], np.uint8))
    scores = confusion.scores()
    assert scores.iou[:2] == (0.5, 0.5)
    assert np.isnan(scores.iou[2])  # found only where nothing counts
    assert scores.mean_iou == 0.5
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.pixels == (2, 1, 0)
    confusion.add(np.array([[0]], np.uint8), np.array([[2]], np.uint8))
    assert confusion.scores().iou[2] == 0  # found where it is not
    assert confusion.scores().mean_iou == pytest.approx((1 / 3 + 1 / 2) / 3)


def test_nothing_to_score() -> None:
    confusion = Confusion(2)
    with pytest.raises(ValueError, match="no pixel"):
        confusion.scores()
    with pytest.raises(ValueError, match="labels of"):
        confusion.add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))


MAPS = arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 3, IGNORED]))


@given(MAPS, MAPS.map(lambda found: np.minimum(found, 3)))
def test_against_the_definition(labels: np.ndarray, found: np.ndarray) -> None:
    confusion = Confusion(4)
    confusion.add(labels, found)
    if (labels == IGNORED).all():
        return
    scores = confusion.scores()
    counts = labels != IGNORED
    for index in range(4):
        both = (counts & (labels == index) & (found == index)).sum()
        either = (counts & ((labels == index) | (found == index))).sum()
        assert scores.iou[index] == pytest.approx(both / either if either else np.nan, nan_ok=True)


# --- segmenters -------------------------------------------------------------------------------------------------------


def export(path: Path, kind: str, side: int | str = "side") -> Path:
    """A network that tells dark (class 0) from bright (class 1) on a grid of half the size."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.stack([np.full((3, 2, 2), -1 / 12), np.full((3, 2, 2), 1 / 12)]).astype(np.float32)
    constants = [
        onnx.numpy_helper.from_array(weights, "w"),
        onnx.numpy_helper.from_array(np.array([0.5, -0.5], np.float32), "b"),
    ]
    nodes = [helper.make_node("Conv", ["images", "w", "b"], ["scores"], strides=[2, 2])]
    output = helper.make_tensor_value_info("scores", floats, None)
    if kind == "labels":
        nodes.append(helper.make_node("ArgMax", ["scores"], ["labels"], axis=1, keepdims=0))
        output = helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, None)
    images = helper.make_tensor_value_info("images", floats, [1, 3, side, side if side != "side" else "other"])
    graph = helper.make_graph(nodes, "g", [images], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("kind", ["scores", "labels"])
@pytest.mark.parametrize("side", ["side", 64])
def test_segmenters_of_both_kinds(tmp_path: Path, kind: str, side: int | str) -> None:
    image = np.zeros((30, 50, 3), np.uint8)
    image[8:20, 10:40] = 255
    found = Segmenter(export(tmp_path / "s.onnx", kind, side), 2)(image)
    assert found.shape == (30, 50)
    assert found.dtype == np.uint8
    assert (found != image[..., 0] // 255).mean() < (0.09 if side == 64 else 0.02)  # edges, on another grid


def test_normalisation(tmp_path: Path) -> None:
    file = export(tmp_path / "s.onnx", "scores")
    image = np.full((32, 32, 3), 140, np.uint8)  # bright; 0.06 .. 0.14 / 0.225 after the normalisation: dark
    assert (Segmenter(file, 2)(image) == 1).all()
    assert (Segmenter(file, 2, normalisation="imagenet")(image) == 0).all()
    with pytest.raises(UsageError, match="unknown normalisation 'x': choose from none, imagenet"):
        Segmenter(file, 2, normalisation="x")


def test_networks_that_do_not_fit(tmp_path: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(WeightsError, match=r"puts out \(1, 2, 32, 32\), and scores of 19 classes are"):
        Segmenter(export(tmp_path / "s.onnx", "scores"), 19)(image)
    with pytest.raises(WeightsError, match="puts out the class 1, and there are 1"):
        Segmenter(export(tmp_path / "l.onnx", "labels"), 1)(np.full_like(image, 255))
    with pytest.raises(UsageError, match="takes pictures of 64x64"):
        Segmenter(export(tmp_path / "f.onnx", "scores", 64), 2, size=(32, 32))
    with pytest.raises(UsageError, match="sides from 1 up"):
        Segmenter(tmp_path / "s.onnx", 2, size=(0, 32))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"text\.onnx"):
        Segmenter(tmp_path / "text.onnx", 2)
