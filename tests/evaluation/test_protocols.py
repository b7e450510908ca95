from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum import metrics
from tapetum.errors import UsageError
from tapetum.evaluation.protocols import (
    PROTOCOLS,
    get_protocol,
    pad_bottom_right,
    self_ensemble,
    split_columns,
)

SCRIPT = get_protocol("retinexformer_test_script")


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).random((height, width, 3), np.float32)


@given(height=st.integers(1, 40), width=st.integers(1, 40), multiple=st.sampled_from([1, 4, 8]))
def test_any_size_comes_back(height: int, width: int, multiple: int) -> None:
    low = image(height, width)

    def predict(batch: np.ndarray) -> np.ndarray:
        assert batch.shape[2] % multiple == 0
        assert batch.shape[3] % multiple == 0
        return batch

    for ensemble in (False, True):
        protocol = replace(SCRIPT, self_ensemble=ensemble, split_from=20)
        np.testing.assert_allclose(protocol.restore(predict, low, multiple), low, atol=1e-6)


def test_padding() -> None:
    row = np.arange(5, dtype=np.float32).reshape(1, 1, 1, 5)
    assert pad_bottom_right(row, 1, 4).ravel().tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert pad_bottom_right(row[..., :2], 1, 4).ravel().tolist() == [0, 1, 1, 1]  # too short to reflect
    assert pad_bottom_right(row[..., :3], 1, 4).ravel().tolist() == [0, 1, 2, 1]
    assert pad_bottom_right(row.transpose(0, 1, 3, 2), 4, 1).ravel().tolist() == [0, 1, 2, 3, 4, 3, 2, 1]


def test_self_ensemble_is_the_mean_over_the_square_symmetries() -> None:
    rng = np.random.default_rng(0)
    batch, weight = rng.random((1, 3, 8, 12), np.float32), rng.random((1, 3, 12, 12), np.float32)

    def predict(x: np.ndarray) -> np.ndarray:  # depends on the position: every orientation differs
        return x * weight[:, :, : x.shape[2], : x.shape[3]]

    expected = np.zeros(batch.shape)
    for turns in range(4):
        for flip in (False, True):
            x = np.rot90(batch[:, :, ::-1] if flip else batch, turns, (2, 3))
            y = np.rot90(predict(x), -turns, (2, 3))
            expected += (y[:, :, ::-1] if flip else y) / 8
    np.testing.assert_allclose(self_ensemble(predict)(batch), expected, atol=1e-6)


def test_split_shows_every_other_column() -> None:
    batch = image(4, 16).transpose(2, 0, 1)[None]
    seen = []

    def predict(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return 2 * x

    np.testing.assert_array_equal(split_columns(predict)(batch), 2 * batch)
    np.testing.assert_array_equal(seen[0], batch[..., ::2])
    np.testing.assert_array_equal(seen[1], batch[..., 1::2])


@pytest.mark.parametrize(
    ("size", "widths"),
    [((4, 2999), [3000]), ((4, 3000), [1500, 1500]), ((4, 3004), [1504, 1504]), ((3000, 10), [8, 8])],
)
def test_split_from_3000(size: tuple[int, int], widths: list[int]) -> None:
    seen = []

    def predict(x: np.ndarray) -> np.ndarray:
        seen.append(x.shape[3])
        return x

    assert SCRIPT.restore(predict, image(*size), 4).shape == (*size, 3)
    assert seen == widths


def test_clamped_then_corrected() -> None:
    low, target = image(6, 6) * 0.5, image(6, 7)[:, :6]
    protocol = replace(SCRIPT, gt_mean="gt_mean_gray601_rgb")
    restored = protocol.restore(lambda x: 3 * x - 0.2, low, 2, target)
    expected = metrics.gt_mean_gray601_rgb(np.clip(3 * low - 0.2, 0, 1), target)
    np.testing.assert_allclose(restored, expected, atol=1e-6)
    assert restored.dtype == np.float32
    with pytest.raises(UsageError, match="there is none"):
        protocol.restore(lambda x: x, low, 2)


def test_names() -> None:
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        for metric in protocol.metrics:
            metrics.get(metric)
    with pytest.raises(UsageError, match="unknown protocol 'x': choose from strict, retinexformer_test_script"):
        get_protocol("x")


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("strict", (31, 40), (31, 40)),
        ("retidiff_low_light", (31, 40), (31, 40)),
        ("retidiff_underwater", (31, 40), (256, 256)),
        ("retidiff_underwater", (256, 256), (256, 256)),
        ("retidiff_backlit", (20, 2048), (20, 2048)),
        ("retidiff_backlit", (2049, 30), (2048, 29)),
    ],
)
def test_retidiff_measures_each_task_at_its_size(name: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    low, target = (rng.random((*size, 3), np.float32) for _ in range(2))
    prepared = get_protocol(name).prepare(low, target)
    assert [picture.shape for picture in prepared] == [(*expected, 3)] * 2
    if size == expected:
        assert prepared[0] is low
        assert prepared[1] is target


def test_truncating_cuts_off_what_is_beyond_a_level() -> None:
    protocol = get_protocol("uptflow_test_script")
    low = np.full((9, 7, 3), 0.5, np.float32)
    out = np.array([-0.2, 0.999, 1.3], np.float32).reshape(1, 3, 1, 1) * np.ones((1, 1, 16, 8), np.float32)
    enhanced = protocol.restore(lambda batch: out, low, 8)
    assert enhanced.shape == low.shape
    assert (np.rint(enhanced[4, 3] * 255)).tolist() == [0, 254, 255]  # rounding would give 255
    assert metrics.psnr_rgb_uint8(enhanced, enhanced) == float("inf")
