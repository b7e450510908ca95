"""Cameras: the published ones, gains by ISO, and cards, strictly read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tapetum.data.raw_noise.cameras import (
    CameraNoise,
    Measurement,
    Scale,
    camera_of_model,
    card_text,
    get_camera,
    published_cameras,
    read_card,
)
from tapetum.errors import InputError, UsageError

CARD = CameraNoise(
    name="Mine",
    gain=((100.0, 0.5), (400.0, 2.0), (800.0, 4.4)),
    gaussian=Scale(0.5, 1.0, 0.2),
    tukey=Scale(0.4, 0.5, 0.1),
    row=Scale(0.6, -0.5, 0.0),
    shapes=(0.1, -0.05),
    models=("CAM 7",),
    measured=(Measurement(100.0, 0.5, 2.0, 1.0, 0.1, 0.3),),
)


def test_the_published_cameras() -> None:
    assert list(published_cameras()) == ["CanonEOS5D4", "CanonEOS70D", "CanonEOS700D", "NikonD850", "SonyA7S2"]
    sony = get_camera("SonyA7S2")
    assert sony.gain_at(100) == pytest.approx(0.09392, abs=1e-5)
    assert sony.gain_at(6400) == pytest.approx(6.01063, abs=1e-5)
    assert sony.gain_at(12800) > 12  # the line goes on
    assert camera_of_model("ILCE-7SM2 ") is sony
    assert camera_of_model("Pinhole") is None


def test_gains_between_and_beyond() -> None:
    assert [CARD.gain_at(iso) for iso in (100, 250, 400, 600, 800, 1600)] == pytest.approx(
        [0.5, 1.25, 2, 3.2, 4.4, 9.2]
    )
    assert CARD.gain_range == (0.5, 4.4)
    single = dataclasses.replace(CARD, gain=((400.0, 2.0),))
    assert single.gain_at(100) == pytest.approx(0.5)
    for iso in (0, -100, float("nan")):
        with pytest.raises(UsageError, match="the ISO speed must be a positive number"):
            CARD.gain_at(iso)
    with pytest.raises(UsageError, match="not positive at ISO 10"):
        dataclasses.replace(CARD, gain=((100.0, 0.1), (200.0, 1.0))).gain_at(10)


def test_an_unknown_camera_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"unknown camera 'A7S3': choose from CanonEOS5D4, .*SonyA7S2, or name a card"):
        get_camera("A7S3")


def test_a_card_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(card_text(CARD), encoding="utf-8")
    assert read_card(path) == CARD
    assert get_camera(path) == CARD


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(format="other"), "must begin with 'format: tapetum-camera-noise 1'"),
        (lambda c: c.update(colour=1), "unknown key 'colour', there are name, gain"),
        (lambda c: c.pop("row"), "row is missing"),
        (lambda c: c["row"].pop("sigma"), "row: sigma is missing"),
        (lambda c: c["row"].update(sigma=-1), "row.sigma must not be negative, got -1"),
        (lambda c: c["tukey"].update(bias="x"), "tukey.bias must be a number, got 'x'"),
        (lambda c: c["tukey"].update(bias=True), "tukey.bias must be a number, got True"),
        (lambda c: c.update(gaussian=3), "gaussian must have the keys slope, bias, sigma, got 3"),
        (lambda c: c.update(gain={}), "gain must map ISO speeds to gains"),
        (lambda c: c.update(gain={100: 0.0}), "ISO speeds and gains must be positive"),
        (lambda c: c.update(gain={"a": 1.0}), "gain, an ISO speed must be a number, got 'a'"),
        (lambda c: c.update(gain={100: 1.0, "100": 2.0}), "gain names an ISO speed twice"),
        (lambda c: c.update(shapes=[]), "shapes must be a list of at least one number"),
        (lambda c: c.update(shapes=[float("inf")]), "shapes must be a number, got inf"),
        (lambda c: c.update(name=""), "name must be a text"),
        (lambda c: c.update(models="x"), "models must be a list of texts"),
        (lambda c: c.update(measured=[{"iso": 1}]), r"measured\.0: gain is missing"),
    ],
)
def test_bad_cards(tmp_path: Path, change: Callable[[dict], object], says: str) -> None:
    content = yaml.safe_load(card_text(CARD))
    change(content)
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=rf"^{path}.*{says}") as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_cards(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read: no such file"):
        get_camera(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(UsageError, match=r"bad\.yaml, line 2: no camera card"):
        get_camera(tmp_path / "bad.yaml")
    (tmp_path / "bin.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UsageError, match=r"bin\.yaml: no camera card"):
        get_camera(tmp_path / "bin.yaml")
