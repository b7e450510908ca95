"""``tapetum enhance`` of camera RAW files, ``tapetum raw info`` and ``tapetum raw develop``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapetum.imaging import Picture, read_picture, srgb_to_linear, write_picture
from tapetum.imaging.raw import RawPicture, Shot, develop, read_raw, write_mosaic


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A small dark DNG."""
    pytest.importorskip("rawpy", reason="the raw extra is not installed")
    rows, columns = np.mgrid[0:48, 0:64]
    mosaic = (600 + 8 * rows + 6 * columns + 40 * np.sin(rows / 5)).astype(np.uint16)
    raw = RawPicture(
        mosaic, "GRBG", (512.0,) * 4, 16383.0, (2.0, 1.0, 1.5), None, 6, Shot("Maker", "Model 5", 1600.0, 0.1)
    )
    write_mosaic(raw, tmp_path / "night.dng")
    return tmp_path / "night.dng"


@pytest.mark.parametrize(("ending", "depth"), [("jpg", 8), ("tif", 16), ("png", 16), ("dng", 16)])
def test_to_every_kind_of_file(
    ending: str, depth: int, night: Path, doubler: Path, tapetum: Callable[..., Any]
) -> None:
    out = night.with_name(f"out.{ending}")
    result = tapetum("enhance", night, "-o", out, "--model", doubler)
    assert result.code == 0, result.err
    enhanced, developed = read_picture(out), develop(read_raw(night))
    assert enhanced.depth == depth
    scale = {8: 255, 16: 65535}[depth]
    expected = np.clip(developed.pixels / 65535 * 2, 0, 1)
    assert enhanced.pixels.shape == developed.pixels.shape == (64, 48, 3)
    # no step of 8 bits on the way: in 16 bits all levels are there
    assert np.abs(enhanced.pixels / scale - expected).max() < (0.03 if depth == 8 else 0.0005)
    assert len(np.unique(enhanced.pixels)) > (10 if depth == 8 else 1000)


def test_exposure(night: Path, doubler: Path, tapetum: Callable[..., Any]) -> None:
    light = {}
    for name, options in {"as": (), "ev": ("--ev", "1"), "ratio": ("--ratio", "2"), "auto": ("--ev", "auto")}.items():
        out = night.with_name(f"{name}.tif")
        assert tapetum("raw", "develop", night, "-o", out, *options).code == 0
        light[name] = srgb_to_linear(read_picture(out).pixels / 65535.0)
    np.testing.assert_array_equal(light["ev"], light["ratio"])
    unclipped = (light["ev"] < 0.99) & (light["as"] > 0.01)
    np.testing.assert_allclose(light["ev"][unclipped], 2 * light["as"][unclipped], rtol=5e-3)
    assert light["auto"].mean() > 3 * light["as"].mean()
    out = night.with_name("enhanced.tif")
    assert tapetum("enhance", night, "-o", out, "--model", doubler, "--ratio", "2").code == 0
    assert read_picture(out).pixels.mean() > read_picture(night.with_name("ev.tif")).pixels.mean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--ratio", "0"), "ratio must be above 0"),
        (("--ratio", "-2"), "ratio must be above 0"),
        (("--ev", "1", "--ratio", "2"), "give one of them"),
        (("--ev", "dark"), "--ev must be a number of stops or auto"),
        (("--white-balance", "1,2"), "R,G,B"),
    ],
)
def test_wrong_wishes(options: tuple[str, ...], words: str, night: Path, tapetum: Callable[..., Any]) -> None:
    for command in (("enhance", night), ("raw", "develop", night, "-o", night.with_name("a.png"))):
        result = tapetum(*command, *options)
        assert result.code == 2
        assert len(result.err.splitlines()) == 1
        assert words in result.err


def test_bad_files_do_not_stop_a_batch(night: Path, doubler: Path, tapetum: Callable[..., Any]) -> None:
    folder, data = night.parent, night.read_bytes()
    (folder / "cut.dng").write_bytes(data[: len(data) // 2])
    (folder / "fake.ARW").write_bytes(b"\xff\xd8\xff\xe0" + bytes(60))
    (folder / "noise.nef").write_bytes(bytes(range(256)) * 8)
    write_picture(Picture(np.full((30, 40, 3), 40, np.uint8)), folder / "plain.png")
    (folder / "x").mkdir()
    result = tapetum("enhance", folder, "-o", folder / "x", "--model", doubler, "--format", "png")
    assert result.code == 1
    assert [line.split(": ")[1].rsplit("/")[-1] for line in result.errors] == ["cut.dng", "fake.ARW", "noise.nef"]
    assert "2 done" in result.err
    assert len(result.err.splitlines()) == 4
    assert {path.name for path in (folder / "x").iterdir()} == {"night.png", "plain.png"}


def test_stops_are_for_raw_files(tmp_path: Path, doubler: Path, tapetum: Callable[..., Any]) -> None:
    write_picture(Picture(np.full((30, 40, 3), 40, np.uint8)), tmp_path / "plain.png")
    result = tapetum("enhance", tmp_path / "plain.png", "--model", doubler, "--ev", "1")
    assert result.code == 1
    assert "plain.png: --ev and --ratio are for camera RAW files" in result.err


def test_a_camera_that_writes_both(night: Path, doubler: Path, tapetum: Callable[..., Any]) -> None:
    write_picture(develop(read_raw(night)), night.with_suffix(".jpg"))
    result = tapetum("enhance", night.parent, "--model", doubler, "--json")
    assert [Path(entry["input"]).name for entry in result.json["files"]] == ["night.jpg"]
    developed = tapetum("enhance", night.parent, "-o", night.parent / "x", "--model", doubler, "--ev", "1", "--json")
    assert [Path(entry["input"]).name for entry in developed.json["files"]] == [night.name], "options of RAW mean RAW"
    assert developed.code == 0
    night.unlink()
    refused = tapetum("enhance", night.parent, "--model", doubler, "--ev", "1")
    assert (refused.code, refused.errors) == (1, [f"error: no camera RAW files in the folder {night.parent}"])


def test_beside_the_input_it_is_a_jpeg(night: Path, doubler: Path, tapetum: Callable[..., Any]) -> None:
    assert tapetum("enhance", night, "--model", doubler, "--compare").code == 0
    names = {path.name for path in night.parent.iterdir()}
    assert names == {"night.dng", "night-enhanced.jpg", "night-enhanced-compare.jpg"}
    result = tapetum("enhance", night.parent, "--model", doubler, "--json")
    assert result.json["skipped"] == 1  # and its own results are no inputs


def test_folders_without_rawpy(
    night: Path, doubler: Path, tapetum: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tapetum.cli import batch

    write_picture(Picture(np.full((30, 40, 3), 40, np.uint8)), night.with_name("plain.png"))
    monkeypatch.setattr(batch, "reads_raw", lambda: False)
    result = tapetum("enhance", night.parent, "--model", doubler, "--json")
    assert [Path(entry["input"]).name for entry in result.json["files"]] == ["plain.png"]
    monkeypatch.setitem(sys.modules, "rawpy", None)
    result = tapetum("enhance", night, "--model", doubler)
    assert result.code == 1
    assert "pip install 'tapetum[raw]'" in result.err


def test_several_inputs_and_one_dng(night: Path, tapetum: Callable[..., Any]) -> None:
    other = night.with_name("other.dng")
    other.write_bytes(night.read_bytes())
    result = tapetum("enhance", night, other, "-o", night.with_name("out.dng"))
    assert result.code == 2
    assert "names one file, but there are several inputs" in result.err


def test_info(night: Path, tapetum: Callable[..., Any]) -> None:
    facts = tapetum("raw", "info", night, "--json").json
    assert (facts["model"], facts["width"], facts["height"], facts["pattern"]) == ("Model 5", 64, 48, "GRBG")
    assert (facts["black"], facts["white"], facts["orientation"]) == ([512.0] * 4, 16383.0, 6)
    text = tapetum("raw", "info", night).out
    assert "pattern: GRBG\n" in text
    assert "aperture: unknown\n" in text


def test_develop_to_dng(night: Path, tapetum: Callable[..., Any]) -> None:
    mosaic, linear = night.with_name("m.dng"), night.with_name("l.dng")
    assert tapetum("raw", "develop", night, "-o", mosaic, "--mosaic").code == 0
    np.testing.assert_array_equal(read_raw(mosaic).mosaic, read_raw(night).mosaic)
    assert tapetum("raw", "develop", night, "-o", linear).code == 0
    assert read_picture(linear).pixels.shape == (64, 48, 3)
    for arguments, words in (
        (("-o", night.with_name("a.png"), "--mosaic"), "--mosaic is for a .dng"),
        (("-o", night, "--overwrite"), "would replace the RAW file itself"),
        (("-o", mosaic), "exists: --overwrite replaces it"),
    ):
        result = tapetum("raw", "develop", night, *arguments)
        assert result.code == 2
        assert words in result.err


def test_headerless(tmp_path: Path, doubler: Path, tapetum: Callable[..., Any]) -> None:
    np.full((20, 30), 700, "<u2").tofile(tmp_path / "night.raw")
    facts = {"width": 30, "height": 20, "pattern": "RGGB", "bits": 12, "black": 100}
    (tmp_path / "geometry.json").write_text(json.dumps(facts))
    options = ("--geometry", tmp_path / "geometry.json")
    result = tapetum("enhance", tmp_path / "night.raw", "-o", tmp_path / "a.png", "--model", doubler, *options)
    assert result.code == 0, result.err
    assert read_picture(tmp_path / "a.png").pixels.shape == (20, 30, 3)
    assert tapetum("raw", "info", tmp_path / "night.raw", "--json", *options).json["pattern"] == "RGGB"
    (tmp_path / "geometry.json").write_text(json.dumps(facts | {"height": 21}))
    result = tapetum("enhance", tmp_path / "night.raw", "-o", tmp_path / "b.png", "--model", doubler, *options)
    assert result.code == 1
    assert "truncated, or its geometry is another" in result.err
