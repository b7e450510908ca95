"""tapetum raw calibrate: frames made with a known noise, and the truth found again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tapetum.data.raw_noise.cameras import get_camera, read_card
from tapetum.data.raw_noise.model import draw_parameters

SIDE, BLACK, WHITE = 512, 512, 16383
SHAPE = 0.08
TRUTH = {  # ISO: K, Tukey scale, row noise, DN
    400: (0.6, 1.2, 0.4),
    1600: (2.4, 2.6, 0.9),
    6400: (9.6, 5.6, 2.0),
}


def tukey(rng: np.random.Generator, size: tuple[int, int], shape: float) -> np.ndarray:
    v = rng.uniform(1e-12, 1 - 1e-12, size)
    return (v**shape - (1 - v) ** shape) / shape


def frame(rng: np.random.Generator, iso: int, electrons: float, vignette: bool = True) -> np.ndarray:
    gain, scale, row = TRUTH[iso]
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    light = electrons * (1 - 0.5 * (x**2 + y**2)) if vignette else electrons
    pattern = np.random.default_rng(5).normal(1, 0.01, (SIDE, SIDE))  # of the sensor, the same in every frame
    signal = gain * rng.poisson(light * pattern)
    noise = scale * tukey(rng, (SIDE, SIDE), SHAPE) + rng.normal(0, row, (SIDE, 1))
    return np.clip(np.rint(BLACK + signal + noise), 0, WHITE).astype("<u2")


def write(path: Path, mosaic: np.ndarray, iso: int | None, exposure: float, **fields: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mosaic.tobytes())
    geometry = {"width": mosaic.shape[1], "height": mosaic.shape[0], "pattern": "RGGB", "bits": 14, "black": BLACK}
    geometry |= {"white": WHITE, "model": "Cam 1", "exposure_time": exposure} | ({} if iso is None else {"iso": iso})
    path.with_name(path.name + ".json").write_text(json.dumps(geometry | fields))
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """flats/ and bias/ of three ISO speeds, two exposures each."""
    folder = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(1)
    for iso, (gain, *_) in TRUTH.items():
        for level in (0.25, 0.6):
            for i in range(2):
                mosaic = frame(rng, iso, level * (WHITE - BLACK) / gain)
                write(folder / "flats" / f"{iso}-{level}-{i}.raw", mosaic, iso, level)
        for i in range(6):
            write(folder / "bias" / f"{iso}-{i}.raw", frame(rng, iso, 0), iso, 1e-4)
    return folder


def test_recovers_the_truth(frames: Path, tmp_path: Path, tapetum: Callable) -> None:
    result = tapetum("raw", "calibrate", frames / "flats", "--bias", frames / "bias", "-o", tmp_path / "c.yaml")
    assert result.code == 0, result.errors
    assert "Cam 1" in result.out
    card = read_card(tmp_path / "c.yaml")
    assert (card.name, card.models) == ("Cam 1", ("Cam 1",))
    variance = 2.0 / SHAPE**2  # of the unit law, by its moments
    variance *= 1 / (1 + 2 * SHAPE) - np.exp(2 * math.lgamma(SHAPE + 1) - math.lgamma(2 * SHAPE + 2))
    for measured, (iso, (gain, scale, row)) in zip(card.measured, TRUTH.items(), strict=True):
        assert measured.iso == iso
        assert measured.gain == pytest.approx(gain, rel=0.05)
        assert measured.tukey == pytest.approx(scale, rel=0.05)
        assert measured.row == pytest.approx(row, rel=0.05)
        assert measured.gaussian == pytest.approx((scale**2 * variance + row**2) ** 0.5, rel=0.05)
        assert measured.shape == pytest.approx(SHAPE, abs=0.02)
        assert card.gain_at(iso) == pytest.approx(gain, rel=0.05)
    logs = {i: np.log([truth[i] for truth in TRUTH.values()]) for i in range(3)}
    for name, i in (("tukey", 1), ("row", 2)):
        slope, bias = np.polyfit(logs[0], logs[i], 1)
        fitted = getattr(card, name)
        assert fitted.slope == pytest.approx(slope, rel=0.05)
        assert np.exp(fitted.bias) == pytest.approx(np.exp(bias), rel=0.05)
        assert fitted.sigma < 0.05
    # training draws from the card
    drawn = draw_parameters([get_camera(tmp_path / "c.yaml")], np.random.default_rng(0), gain=None)
    assert 0.55 < float(drawn.gain) < 10.2
    assert drawn.shape in card.shapes


def small(folder: Path, mean: float, iso: int | None = 100, count: int = 2, **options: object) -> Path:
    rng = np.random.default_rng(2)
    for i in range(count):
        mosaic = np.clip(rng.normal(BLACK + mean, 3 + mean**0.5, (128, 128)), 0, WHITE).astype("<u2")
        write(folder / f"{i}.raw", mosaic, iso, 0.1, **options)
    return folder


@pytest.mark.parametrize(
    ("flats", "bias", "says"),
    [
        ({"mean": 0}, {"mean": 0}, "as dark as a bias frame"),
        ({"mean": 60000}, {"mean": 0}, "ISO 100: its flat frames are clipped: expose them to about half of white"),
        ({"mean": 3000, "count": 1}, {"mean": 0}, "ISO 100: needs at least 2 flat frames of the same exposure"),
        ({"mean": 3000}, {"mean": 0, "count": 1}, "ISO 100: 1 bias frame, needs at least 2"),
        ({"mean": 3000, "iso": 200}, {"mean": 0}, "ISO 200: 0 bias frames"),
        ({"mean": 3000, "iso": None}, {"mean": 0}, "does not tell its ISO speed"),
        ({"mean": 3000, "model": "Other"}, {"mean": 0}, "frames of several cameras: Cam 1, Other"),
    ],
)
def test_frames_that_cannot_be_used(tmp_path: Path, tapetum: Callable, flats: dict, bias: dict, says: str) -> None:
    small(tmp_path / "f", **flats)
    small(tmp_path / "b", **bias)
    result = tapetum("raw", "calibrate", tmp_path / "f", "--bias", tmp_path / "b", "-o", tmp_path / "c.yaml")
    assert result.code in (1, 2)
    assert len(result.errors) == 1
    assert says in result.errors[0]
    assert not (tmp_path / "c.yaml").exists()


@pytest.mark.parametrize(
    ("black", "noise", "says"),
    [
        (0, 5.0, "of its samples are 0: this camera cuts its noise off at black"),
        (BLACK, 0.1, "ISO 100: rounding to whole numbers hides the noise of its bias frames"),
    ],
)
def test_bias_frames_that_tell_nothing(tmp_path: Path, tapetum: Callable, black: int, noise: float, says: str) -> None:
    flats, rng = small(tmp_path / "f", 3000), np.random.default_rng(3)
    for i in range(2):
        mosaic = np.clip(np.rint(rng.normal(black, noise, (128, 128))), 0, WHITE).astype("<u2")
        write(tmp_path / "b" / f"{i}.raw", mosaic, 100, 0.1, black=black)
    result = tapetum("raw", "calibrate", flats, "--bias", tmp_path / "b", "-o", tmp_path / "c.yaml")
    assert result.code == 1
    assert len(result.errors) == 1
    assert says in result.errors[0]


def test_flats_by_different_light(tmp_path: Path, tapetum: Callable) -> None:
    flats, bias = small(tmp_path / "f", 3000), small(tmp_path / "b", 0)
    mosaic = np.random.default_rng(3).normal(BLACK + 1500, 40, (128, 128)).astype("<u2")
    write(flats / "1.raw", mosaic, 100, 0.1)
    result = tapetum("raw", "calibrate", flats, "--bias", bias, "-o", tmp_path / "c.yaml")
    assert result.code == 1
    assert "1.raw: is 0.50 times as bright as" in result.errors[0]


def test_what_lies_beside_raw_files_is_passed_over(tmp_path: Path, tapetum: Callable) -> None:
    flats, bias = small(tmp_path / "f", 3000), small(tmp_path / "b", 0)
    for name in ("0.jpg", "0.xmp", ".DS_Store", "notes.txt"):
        (flats / name).write_bytes(b"\xff\xd8\xff\xe0")
    result = tapetum("raw", "calibrate", flats, "--bias", bias, "-o", tmp_path / "c.yaml")
    assert result.code == 0, result.err


def test_frames_of_other_sizes(tmp_path: Path, tapetum: Callable) -> None:
    small(tmp_path / "f", 3000)
    small(tmp_path / "b", 0)
    write(tmp_path / "b" / "9.raw", np.full((64, 64), BLACK, "<u2"), 100, 0.1)
    result = tapetum("raw", "calibrate", tmp_path / "f", "--bias", tmp_path / "b", "-o", tmp_path / "c.yaml")
    assert "9.raw: is 32x32 (packed)" in result.errors[-1]


def test_files_and_places(tmp_path: Path, tapetum: Callable) -> None:
    flats, bias = small(tmp_path / "f", 3000), small(tmp_path / "b", 0)
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.ARW").write_bytes(b"\xff\xd8\xff\xe0" + b"0" * 100)
    card = tmp_path / "c.yaml"

    def run(*arguments: object) -> str:
        result = tapetum("raw", "calibrate", *map(str, arguments))
        assert result.code in (1, 2)
        assert len(result.errors) == 1
        return result.errors[0]

    assert "holds no RAW file" in run(tmp_path / "empty", "--bias", bias, "-o", card)
    assert "junk.ARW: is a JPEG picture" in run(tmp_path / "junk.ARW", "--bias", bias, "-o", card)
    assert "given as a flat frame and as a bias frame" in run(flats, "--bias", flats, "-o", card)
    assert "a card is a YAML file" in run(flats, "--bias", bias, "-o", tmp_path / "c.txt")
    assert "no such folder" in run(flats, "--bias", bias, "-o", tmp_path / "none" / "c.yaml")
    card.write_text("kept")
    assert "exists: --overwrite" in run(flats, "--bias", bias, "-o", card)
    assert card.read_text() == "kept"


def test_one_iso_speed(tmp_path: Path, tapetum: Callable) -> None:
    flats, bias, card = small(tmp_path / "f", 3000), small(tmp_path / "b", 0), tmp_path / "c.yaml"
    result = tapetum("raw", "calibrate", flats, "--bias", bias, "-o", card, "--name", "Mine")
    assert result.code == 0
    assert "fewer than 3 ISO speeds" in result.err
    content = yaml.safe_load(card.read_text())
    assert content["name"] == "Mine"
    assert content["gain"][100] == pytest.approx(1.0, rel=0.2)
    assert content["tukey"]["slope"] == 0


def test_a_camera_without_row_noise_is_given_none(tmp_path: Path, tapetum: Callable) -> None:
    rng = np.random.default_rng(5)
    for iso, gain in ((100, 0.5), (400, 2.0), (1600, 8.0)):

        def shot(mean: float, gain: float = gain) -> np.ndarray:
            light = rng.poisson(mean, (256, 256)) * gain
            return np.clip(np.rint(BLACK + light + rng.normal(0, 2, light.shape)), 0, WHITE).astype("<u2")

        for i in range(4):
            write(tmp_path / "flats" / f"{iso}-{i}.raw", shot(0.4 * (WHITE - BLACK) / gain), iso, 0.5)
            write(tmp_path / "bias" / f"{iso}-{i}.raw", shot(0), iso, 1e-4)
    result = tapetum("raw", "calibrate", tmp_path / "flats", "--bias", tmp_path / "bias", "-o", tmp_path / "c.yaml")
    assert result.code == 0, result.errors
    row = read_card(tmp_path / "c.yaml").row
    for gain in (0.1, 1.0, 30.0):  # rows of pure chance would have 0.09 DN
        assert row.at(gain, 0.0) < 0.01
