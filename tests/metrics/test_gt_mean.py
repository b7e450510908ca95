from __future__ import annotations

import numpy as np
import pytest

from tapetum import metrics

WEIGHTS = {
    "gt_mean_gray601_rgb": [0.114, 0.587, 0.299],  # swapped on purpose: the published protocol
    "gt_mean_gray601": [0.299, 0.587, 0.114],
    "gt_mean_mean": [1 / 3, 1 / 3, 1 / 3],
}


@pytest.mark.parametrize("name", metrics.corrections())
def test_weights(name: str) -> None:
    rng = np.random.default_rng(1)
    enhanced, target = (rng.random((9, 7, 3)) * 0.4 for _ in range(2))
    ratio = (target @ WEIGHTS[name]).mean() / (enhanced @ WEIGHTS[name]).mean()
    np.testing.assert_allclose(metrics.correction(name)(enhanced, target), enhanced * ratio, rtol=1e-5)


@pytest.mark.parametrize("name", metrics.corrections())
def test_clipped_and_black(name: str) -> None:
    bright, black = np.full((4, 4, 3), 0.9), np.zeros((4, 4, 3))
    half_dark = bright.copy()
    half_dark[:2] = 0.1
    assert metrics.correction(name)(half_dark, bright).max() == 1
    assert metrics.correction(name)(black, bright).max() == 0


def test_all_variants_are_listed() -> None:
    assert set(WEIGHTS) == set(metrics.corrections())
