"""Spoiled photographs: as dark and as noisy as they are said to be, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.data.raw_noise.cameras import get_camera
from tapetum.errors import InputError
from tapetum.evaluation.robustness.probes import CAMERA, PROBES, Spoiling
from tapetum.evaluation.robustness.spoiling import LONGEST, make_split, name_of, noise_at, spoil
from tapetum.imaging.colour import srgb_to_linear

GREY = np.full((64, 80, 3), 200, np.uint8)


def linear(image: np.ndarray) -> np.ndarray:
    return srgb_to_linear(image / np.float32(255))


@pytest.mark.parametrize("stops", [1, 3])
def test_a_stop_halves_the_light(stops: int) -> None:
    dark = spoil(GREY, Spoiling(stops=stops), 0)
    assert linear(dark).mean() == pytest.approx(linear(GREY).mean() / 2**stops, rel=0.03)  # 8 bit


def test_noise_is_what_the_cameras_card_says() -> None:
    """Far above the steps of 8 bit: variance of photons and of reading, less what blotches share out."""
    iso = 102400.0
    noise = noise_at(iso)
    gain = get_camera(CAMERA).gain_at(iso)
    assert noise.shot == pytest.approx(gain / 15871)
    bright = np.full((400, 400, 3), 128, np.uint8)
    spread = linear(spoil(bright, Spoiling(iso=iso), 1)) - linear(bright)
    expected = noise.shot * linear(bright).mean() + noise.read**2
    # blotches: half each sample, and half of a mean of four that is scaled to its deviation
    shared = ((0.5 + 0.5 / 2) ** 2 + 3 * (0.5 / 2) ** 2) / 1.0
    assert spread.var() == pytest.approx(expected * shared, rel=0.05)
    assert abs(spread.mean()) < 3 * np.sqrt(expected / spread.size) + 2e-3


def test_iso_and_quality_make_it_worse() -> None:
    def error(how: Spoiling) -> float:
        textured = np.random.default_rng(0).integers(90, 110, (64, 64, 3)).astype(np.uint8)
        return float(np.abs(spoil(textured, how, 0).astype(int) - textured).mean())

    assert error(Spoiling(iso=400)) < error(Spoiling(iso=25600)) < error(Spoiling(iso=102400))
    assert error(Spoiling(quality=95)) < error(Spoiling(quality=30))
    assert error(Spoiling()) == 0


def test_the_same_every_time_and_one_grain() -> None:
    how = Spoiling(3, 6400)
    assert np.array_equal(spoil(GREY, how, 5), spoil(GREY, how, 5))
    assert not np.array_equal(spoil(GREY, how, 5), spoil(GREY, how, 6))


def test_pairs_are_kept(tmp_path: Path) -> None:
    photographs = tmp_path / "good"
    photographs.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)).save(photographs / "a.png")
    Image.fromarray(rng.integers(0, 256, (2, 2 * LONGEST, 3)).astype(np.uint8)).save(photographs / "wide.png")
    files = sorted(photographs.iterdir())
    how = Spoiling(2, 1600, 85)
    split = make_split(files, how, tmp_path / "cache")
    assert split.name == name_of(how) == "-2 EV, ISO 1600, JPEG 85"
    assert [pair.name for pair in split.pairs] == ["a", "wide"]
    assert Image.open(split.pairs[0].target).size == (40, 30)
    assert np.array_equal(np.asarray(Image.open(split.pairs[0].target)), np.asarray(Image.open(files[0])))
    assert Image.open(split.pairs[1].low).size == Image.open(split.pairs[1].target).size == (LONGEST, 1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.png")}
    assert len(before) == 4
    assert make_split(files, how, tmp_path / "cache") == split
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.png")} == before


def test_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    pair = make_split([tmp_path / "a.png"], Spoiling(), tmp_path / "cache").pairs[0]
    assert pair.low == pair.target


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"a\.png"):
        make_split([tmp_path / "a.png"], Spoiling(1), tmp_path / "cache")


def test_names_of_probes_and_points_are_unique() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES)
    for probe in PROBES:
        assert len({point.label for point in probe.points}) == len(probe.points)
