"""Overlap and suppression, against the plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.evaluation.detection.boxes import overlaps, suppress

sides = st.integers(0, 12)
boxes = st.lists(st.tuples(sides, sides, sides, sides), max_size=8).map(
    lambda rows: np.asarray([(x, y, x + w, y + h) for x, y, w, h in rows], np.float32).reshape(-1, 4)
)


def pixels(box):
    return {(x, y) for x in range(int(box[0]), int(box[2])) for y in range(int(box[1]), int(box[3]))}


@given(boxes, boxes)
def test_overlap_is_shared_pixels_of_all_pixels(first, second):
    found = overlaps(first, second)
    assert found.shape == (len(first), len(second))
    for i, a in enumerate(map(pixels, first)):
        for j, b in enumerate(map(pixels, second)):
            assert found[i, j] == pytest.approx(len(a & b) / len(a | b) if a | b else 0)


@given(boxes, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.45, 0.9]), st.integers(1, 9))
def test_suppression(found, seed, limit, most):
    """Kept: whoever overlaps no better kept one of its class by more than the limit."""
    random = np.random.default_rng(seed)
    scores = random.permutation(len(found)).astype(np.float32)
    labels = random.integers(0, 2, len(found))
    expected: list[int] = []
    for i in np.argsort(-scores):
        rivals = [j for j in expected if labels[j] == labels[i]]
        if all(overlaps(found[i : i + 1], found[j : j + 1])[0, 0] <= limit for j in rivals):
            expected.append(int(i))
    assert suppress(found, scores, labels, limit, most).tolist() == expected[:most]
