"""Exposure: stops, ratios, and the automatic choice."""

from __future__ import annotations

import numpy as np
import pytest

from tapetum.errors import UsageError
from tapetum.imaging.raw import Development, RawPicture, automatic_ratio
from tapetum.imaging.raw.options import development, ev_of_ratio


def flat(level: float, lamp: float | None = None, noise: float = 0.0) -> RawPicture:
    random = np.random.default_rng(5)
    light = np.full((256, 384), level) + noise * random.normal(size=(256, 384))
    if lamp is not None:
        light[:64, :96] = lamp
    mosaic = np.clip(np.rint(500 + light * 15000), 0, 15500).astype(np.uint16)
    return RawPicture(mosaic, "GBRG", (500.0,) * 4, 15500.0)


def test_middle_grey_is_what_a_flat_picture_becomes() -> None:
    assert automatic_ratio(flat(0.018)) == pytest.approx(10, rel=0.01)
    assert automatic_ratio(flat(0.5)) == 1


def test_noise_does_not_move_it() -> None:
    assert automatic_ratio(flat(0.004, noise=0.004)) == pytest.approx(automatic_ratio(flat(0.004)), rel=0.1)


def test_lights_are_kept() -> None:
    assert automatic_ratio(flat(0.001, lamp=0.25)) == pytest.approx(4, rel=0.02)


def test_black_is_not_made_of_noise_alone() -> None:
    assert automatic_ratio(flat(0.0)) == 300


def test_ratio_and_stops() -> None:
    assert ev_of_ratio(8) == 3
    assert development(ratio=0.5).ev == -1
    assert development(ev="2.5").ev == 2.5
    assert development(ev="auto").ev == "auto"
    assert development(otherwise="auto").ev == "auto"
    assert development(white_balance="2,1,1.5").white_balance == (2.0, 1.0, 1.5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ratio": 0.0}, "ratio must be above 0 .* got 0"),
        ({"ratio": -100.0}, "ratio must be above 0 .* got -100"),
        ({"ratio": float("nan")}, "ratio must be above 0"),
        ({"ratio": 2.0, "ev": "1"}, "--ev and --ratio"),
        ({"ev": "bright"}, "--ev must be a number of stops or auto, got 'bright'"),
        ({"ev": "nan"}, "ev must be auto, or stops from -20 to 20"),
        ({"white_balance": "1,2"}, "must be camera, daylight or R,G,B, got '1,2'"),
        ({"white_balance": "0,1,1"}, "three numbers above 0"),
        ({"white_balance": "sunset"}, "camera, daylight or R,G,B, got 'sunset'"),
        ({"developer": "adobe"}, "auto, own, libraw, got 'adobe'"),
    ],
)
def test_impossible_wishes_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        development(**wrong)  # type: ignore[arg-type]


def test_nothing_said_is_as_shot() -> None:
    assert development() == Development()
