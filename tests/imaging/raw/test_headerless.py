"""Headerless files and what tells of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tapetum.errors import InputError
from tapetum.imaging import read_picture
from tapetum.imaging.raw import Development, Geometry, develop, read_geometry, read_headerless, read_raw, write_mosaic

FACTS = {"width": 6, "height": 4, "pattern": "GRBG", "bits": 12, "black": 60, "white_balance": [2, 1, 1.5]}


@pytest.fixture
def headerless(tmp_path: Path) -> Callable[..., Path]:
    """A file of 6 x 4 samples, with a geometry beside it."""

    def write(facts: dict[str, Any] | None = None, dtype: str = "<u2", head: bytes = b"") -> Path:
        path = tmp_path / "night.raw"
        samples = np.arange(60, 84).reshape(4, 6).astype(dtype)
        path.write_bytes(head + samples.tobytes())
        (tmp_path / "night.raw.json").write_text(json.dumps(FACTS | (facts or {})))
        return path

    return write


def test_a_geometry_beside_the_file(headerless: Callable[..., Path]) -> None:
    raw = read_raw(headerless({"iso": 800, "exposure_time": 0.5, "orientation": 6, "model": "Lab"}))
    np.testing.assert_array_equal(raw.mosaic, np.arange(60, 84).reshape(4, 6))
    assert (raw.pattern, raw.black, raw.white) == ("GRBG", (60.0,) * 4, 4095.0)
    assert (raw.white_balance, raw.orientation) == ((2.0, 1.0, 1.5), 6)
    assert (raw.shot.iso, raw.shot.exposure_time, raw.shot.model) == (800, 0.5, "Lab")


@pytest.mark.parametrize(
    ("dtype", "facts", "head"),
    [("u1", {"bits": 8}, b""), (">u2", {"big_endian": True}, b""), ("<u2", {"offset": 5}, b"12345")],
)
def test_other_ways_to_store_samples(
    dtype: str, facts: dict[str, Any], head: bytes, headerless: Callable[..., Path]
) -> None:
    np.testing.assert_array_equal(read_raw(headerless(facts, dtype, head)).mosaic, np.arange(60, 84).reshape(4, 6))


def test_one_geometry_for_all(headerless: Callable[..., Path], tmp_path: Path) -> None:
    path = headerless().rename(tmp_path / "other.bin")
    yaml = tmp_path / "camera.yaml"
    pytest.importorskip("yaml", reason="the raw extra is not installed")
    yaml.write_text("width: 6\nheight: 4\npattern: GRBG\nblack: [1, 2, 3, 4]\nwhite: 4000\n")
    options = Development(geometry=yaml, white_balance=(3.0, 1.0, 2.0))
    raw = read_raw(path, options=options)
    assert (raw.black, raw.white, raw.white_balance) == ((1.0, 2.0, 3.0, 4.0), 4000.0, (3.0, 1.0, 2.0))
    np.testing.assert_array_equal(read_picture(path, development=options).pixels, develop(raw).pixels)


def test_a_geometry_says_nothing_about_files_with_a_header(tmp_path: Path, taken: Callable[..., Any]) -> None:
    (tmp_path / "g.json").write_text(json.dumps(FACTS))
    options = Development(geometry=tmp_path / "g.json")
    Image.new("RGB", (6, 4), (9, 8, 7)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", development=options).pixels[0, 0].tolist() == [9, 8, 7]
    with pytest.raises(InputError, match="is a PNG picture, not a camera RAW file"):
        read_raw(tmp_path / "a.png", options=options)
    pytest.importorskip("rawpy")
    write_mosaic(taken(), tmp_path / "a.dng")
    (tmp_path / "a.dng.json").write_text('{"creationTime": "of another program"}')
    np.testing.assert_array_equal(read_raw(tmp_path / "a.dng", options=options).mosaic, taken().mosaic)


@pytest.mark.parametrize("size", [48, 786432])  # the second is that of a camera which LibRaw knows by it
def test_without_a_geometry(size: int, tmp_path: Path) -> None:
    path = tmp_path / "night.raw"
    path.write_bytes(b"\x0a\x03" * (size // 2))
    for read in (read_raw, read_picture):
        with pytest.raises(InputError, match=r"has no header: say what it holds in night\.raw\.json .* --geometry"):
            read(path)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"height": 6}, "6 x 6 samples of 12 bits are 72 bytes, but there are 48"),
        ({"height": 1}, "width and height must be at least 2"),
        ({"width": 6.5}, "width must be a whole number, got 6.5"),
        ({"pattern": "RGB"}, "pattern must be one of RGGB, BGGR, GRBG, GBRG, got 'RGB'"),
        ({"pattern": 3}, "pattern must be a text"),
        ({"bits": 17}, "bits must be 1 to 16"),
        ({"offset": -2}, "offset must be 0 or more"),
        ({"black": "dark"}, "black must be numbers, got 'dark'"),
        ({"black": [1, 2]}, "black must be 1 or 4 numbers"),
        ({"black": 5000}, "black level .* below its white level"),
        ({"white": 0.5}, "below its white level"),
        ({"white_balance": [0, 1, 1]}, "white balance .* must be above 0"),
        ({"white_balance": [1, 0, 1]}, "white balance .* must be above 0"),
        ({"white_balance": 2}, "white_balance must be numbers"),
        ({"matrix": [1, 2, 3]}, "matrix must be 9 numbers"),
        ({"big_endian": 1}, "big_endian must be true or false"),
        ({"orientation": 7}, "orientation must be 1, 3, 6 or 8"),
        ({"iso": "fast"}, "iso must be a number"),
        ({"iso": -5}, "iso must be above 0 and at most 1e"),
        ({"exposure_time": 1e10}, "exposure_time must be above 0 and at most 100000"),
        ({"gamma": 2.2}, "unknown field 'gamma': choose from width, height"),
    ],
)
def test_geometries_that_do_not_fit(facts: dict[str, Any], words: str, headerless: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=words) as error:
        read_raw(headerless(facts))
    assert "night.raw" in str(error.value).split(": ")[0]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"), [("[1, 2]", "names and values"), ("{", "no JSON"), ("{}", "width is missing")]
)
def test_files_that_are_no_geometry(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_geometry(tmp_path / "g.json")
    with pytest.raises(InputError, match="no such file"):
        read_geometry(tmp_path / "none.json")


def test_the_nikon_mosaic(real_nikon: Path, record_property: Callable[..., None]) -> None:
    geometry = Geometry(768, 512, "RGGB", 14, 600.0, 15520.0, (1.949, 1.0, 1.344))
    raw = read_headerless(real_nikon, geometry)
    pixels = develop(raw).pixels
    assert pixels.shape == (512, 768, 3)
    # a red rose in sunlight before dark leaves
    red, green, blue = pixels[250:450, 200:350].mean((0, 1)) / 65535
    record_property("note", f"the Nikon rose: R {red:.3f} G {green:.3f} B {blue:.3f}")
    assert red > 2 * green
    assert red > 2 * blue
    packed = raw.packed()
    np.testing.assert_allclose(raw.with_packed(packed).packed(), packed, atol=1 / 65535)
