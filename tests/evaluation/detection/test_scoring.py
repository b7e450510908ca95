"""Average precision against worked examples, and COCO's rules against VOC's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.data.detection import Box, DetectionSet, LabelledPicture
from tapetum.evaluation.detection.detector import Detections
from tapetum.evaluation.detection.scoring import score, voc_average_precision

pytest.importorskip("faster_coco_eval")


def data_of(*pictures, classes=("square", "disc")):
    labelled = [
        LabelledPicture(Path(f"/d/{i}.png"), 100, 100, tuple(Box(*box) for box in boxes))
        for i, boxes in enumerate(pictures)
    ]
    return DetectionSet(Path("/d"), classes, "all", tuple(labelled))


def found(*rows):
    """(left, top, right, bottom, score, label)"""
    table = np.asarray(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64))


def test_all_found():
    data = data_of([(0, 10, 10, 20, 20), (1, 50, 50, 30, 30)])
    square, disc, mean = score(data, [found((10, 10, 30, 30, 0.9, 0), (50, 50, 80, 80, 0.8, 1))])
    assert (square.name, square.objects, square.found) == ("square", 1, 1)
    for each in (square, disc, mean):
        assert (each.ap50, each.ap50_95, each.ap50_voc) == pytest.approx((1, 1, 1))
    assert (mean.name, mean.objects, mean.found) == ("mean", 2, 2)


def test_nothing_found():
    data = data_of([(0, 10, 10, 20, 20)])
    square, disc, mean = score(data, [found()])
    assert (square.ap50, square.ap50_95, square.ap50_voc) == (0, 0, 0)
    assert math.isnan(disc.ap50)  # there is none to find, and the mean is not of it
    assert math.isnan(disc.ap50_voc)
    assert (mean.ap50, mean.ap50_voc) == (0, 0)


def test_a_worked_example():
    """Two objects; right, wrong, right: precision 1 up to half of the recall, then 2/3."""
    data = data_of([(0, 0, 0, 10, 10)], [(0, 40, 40, 10, 10)])
    detections = [found((0, 0, 10, 10, 0.9, 0), (70, 70, 80, 80, 0.8, 0)), found((40, 40, 50, 50, 0.7, 0))]
    square = score(data, detections)[0]
    assert square.ap50_voc == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert square.ap50 == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert square.found == 3


def test_a_loose_box_counts_at_a_half_only():
    """An overlap of 0.6: right at 0.5, 0.55 and 0.6 of the ten thresholds, whatever side of the last it is on."""
    data = data_of([(0, 0, 0, 10, 100)])
    square = score(data, [found((0, 0, 10, 62, 0.9, 0))])[0]
    assert square.ap50 == pytest.approx(1)
    assert square.ap50_95 == pytest.approx(0.3)


def test_a_second_box_on_one_object_is_wrong():
    data = data_of([(0, 0, 0, 10, 10), (0, 50, 50, 10, 10)])
    rows = [(0, 0, 10, 10, 0.9, 0), (0, 0, 10, 9, 0.8, 0), (50, 50, 60, 60, 0.7, 0)]
    assert score(data, [found(*rows)])[0].ap50_voc == pytest.approx(0.5 + 0.5 * 2 / 3)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_both_rules_agree_nearly(seed):
    """At an overlap of a half they differ only in how the area is taken: 101 samples or all of the curve. Objects lie
    apart here, since the two treat rivals for one object differently."""
    random = np.random.default_rng(seed)
    pictures, detections = [], []
    for _ in range(4):
        places = [(x, y) for x in (0, 34, 68) for y in (0, 34, 68)]
        chosen = [places[i] for i in random.permutation(9)[: random.integers(1, 6)]]
        pictures.append([(int(random.integers(0, 2)), x, y, 30, 30) for x, y in chosen])
        rows = []
        for category, x, y, w, h in pictures[-1]:
            for _ in range(random.integers(0, 3)):
                dx, dy = random.uniform(-9, 9, 2)
                label = category if random.random() < 0.8 else 1 - category
                rows.append((x + dx, y + dy, x + dx + w, y + dy + h, random.random(), label))
        detections.append(found(*rows))
    data = data_of(*pictures)
    for index, each in enumerate(score(data, detections)[:2]):
        if each.objects:
            ours = voc_average_precision(data, detections, index)
            assert each.ap50 == pytest.approx(ours, abs=0.03)
            assert each.ap50_95 <= each.ap50 + 1e-9
