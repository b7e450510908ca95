"""Reading camera files: what is in them, and one clear line where they cannot be used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tapetum.errors import InputError, MissingExtraError, TapetumWarning
from tapetum.imaging import read_picture
from tapetum.imaging.raw import Development, RawPicture, develop, read_developed, read_raw, write_mosaic
from tapetum.imaging.raw import dng as writer
from tapetum.imaging.raw.entries import longs, octets, rationals, shorts
from tapetum.imaging.raw.libraw import NoBayer, _pattern

Taken = Callable[..., RawPicture]
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"


def refusal(path: Path, read: Callable[..., Any] = read_raw, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        read(path, **options)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_a_picture_read_is_developed_in_16_bits(taken: Taken, tmp_path: Path, rawpy: object) -> None:
    write_mosaic(taken(), tmp_path / "a.dng")
    picture = read_picture(tmp_path / "a.dng")
    assert (picture.format, picture.depth, picture.pixels.dtype) == ("raw", 16, np.uint16)
    np.testing.assert_allclose(picture.pixels, develop(taken()).pixels, atol=4)
    brighter = read_picture(tmp_path / "a.dng", development=Development(ev=1.0))
    assert brighter.pixels.mean() > 1.2 * picture.pixels.mean()
    automatic = read_picture(tmp_path / "a.dng", development=Development(ev="auto"))
    assert automatic.pixels.mean() >= picture.pixels.mean()


def test_truncated(taken: Taken, tmp_path: Path, rawpy: object, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.dng"
    write_mosaic(taken(), path)
    data = path.read_bytes()
    for size in (len(data) // 2, len(data) - 40, 300, 20):
        path.write_bytes(data[:size])
        assert "truncated or damaged" in refusal(path) or size < 300
    assert capfd.readouterr().err == ""  # LibRaw's own words are not left on the terminal


def test_what_others_print_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    from tapetum.imaging.raw.libraw import _stderr_of_libraw

    complaints: list[str] = []
    with _stderr_of_libraw(complaints):
        os.write(2, b"a.dng: Unexpected end of file\nanother thread\n")
    assert complaints == ["unexpected end of file"]
    assert capfd.readouterr().err == "another thread\n"


def test_a_jpeg_by_the_name_of_a_raw_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ARW"
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    assert "is a JPEG picture under the name of a camera RAW file" in refusal(path)
    assert "is a JPEG picture under the name of a camera RAW file" in refusal(path, read_picture)
    other = path.rename(tmp_path / "a.jpg")
    assert "is a JPEG picture, not a camera RAW file" in refusal(other)


@pytest.mark.parametrize("data", [b"", b"no picture at all", bytes(range(256)) * 20])
def test_no_raw_file(data: bytes, tmp_path: Path, rawpy: object) -> None:
    path = tmp_path / "a.nef"
    path.write_bytes(data)
    refusal(path)
    refusal(path, read_picture)


def test_missing_files_and_folders(tmp_path: Path, rawpy: object) -> None:
    assert "no such file" in refusal(tmp_path / "none.dng")
    (tmp_path / "folder.dng").mkdir()
    refusal(tmp_path / "folder.dng")


def test_white_below_black(changed: Callable[..., Path], rawpy: object) -> None:
    path = changed("a.dng", 50717, "<I", 100)
    for read in (read_raw, read_developed):
        assert "black level (500, 510, 520, 530) must be at least 0 and below its white level (100)" in refusal(
            path, read
        )


@pytest.mark.parametrize("values", [(), (0, 1, 0, 1, 0, 1)])
def test_no_white_balance(values: tuple[int, ...], changed: Callable[..., Path], rawpy: object) -> None:
    path = changed("a.dng", 50728, "<6I", *values)
    for read in (read_raw, read_developed):
        assert "give one with --white-balance R,G,B or daylight" in refusal(path, read)
    assert read_raw(path, options=Development(white_balance="daylight")).white_balance[1] == 1
    assert read_raw(path, options=Development(white_balance=(2.0, 1.0, 2.0))).white_balance == (2.0, 1.0, 2.0)


@pytest.mark.parametrize("colours", [(1, 1, 1, 1), (0, 0, 1, 2)])
def test_no_bayer_mosaic(colours: tuple[int, ...], changed: Callable[..., Path], rawpy: object) -> None:
    path = changed("a.dng", 33422, "<4B", *colours)
    assert "no Bayer mosaic" in refusal(path)
    assert "no Bayer mosaic" in refusal(path, read_developed)


def test_a_filter_array_that_cannot_be_read(changed: Callable[..., Path], rawpy: object) -> None:
    path = changed("a.dng", 33422, "<4B", 7, 7, 7, 7)
    assert "no colour filter array that can be read" in refusal(path)
    with pytest.warns(TapetumWarning, match="no colour filter array .* developed as a monochrome picture"):
        picture = read_developed(path)
    assert np.ptp(picture.pixels, axis=2).max() == 0


def test_xtrans_is_developed_by_libraw(tmp_path: Path, rawpy: object) -> None:
    path = tmp_path / "a.dng"
    mosaic = np.full((516, 522), 8000, np.uint16)
    tags = [
        *writer._picture_tags(522, 516, 1, 32803, 1),
        shorts(33421, 6, 6),
        octets(33422, *("RGB".index(colour) for colour in XTRANS)),
        rationals(50714, 500),
        longs(50717, 15000),
        *writer._colour_tags(RawPicture(mosaic, "RGGB", (0.0,) * 4, 1e4).shot, None, (1.0, 1.0, 1.0), 0.0),
    ]
    writer._write(path, tags, None, (mosaic,))
    assert "an X-Trans mosaic, which cannot be packed as a Bayer mosaic" in refusal(path)
    assert "X-Trans" in refusal(path, read_developed, options=Development(developer="own"))
    picture = read_picture(path)
    assert picture.pixels.shape == (516, 522, 3)
    from tapetum.imaging import linear_to_srgb

    expected = linear_to_srgb(np.array(7500 / 14500)) * 65535
    np.testing.assert_allclose(picture.pixels, expected, rtol=0.005)


def test_an_array_that_rawpy_does_not_know() -> None:
    class Opened:
        @property
        def raw_pattern(self) -> None:
            raise NotImplementedError("filters: 148")

    with pytest.raises(InputError, match="no colour filter array that can be read"):
        _pattern(Opened())


def test_too_large_is_refused_before_it_is_decoded(taken: Taken, tmp_path: Path, rawpy: object) -> None:
    write_mosaic(taken(), tmp_path / "a.dng")
    assert "128 x 96 pixels, more than the limit of 1000" in refusal(tmp_path / "a.dng", max_pixels=1000)
    assert "more than the limit of 1000" in refusal(tmp_path / "a.dng", read_picture, max_pixels=1000)


def test_active_area(taken: Taken, tmp_path: Path, rawpy: object) -> None:
    """In a DNG the pattern begins where the active area does: here at row 1, column 1. LibRaw goes on to even ones."""
    raw, path = taken("RGGB"), tmp_path / "a.dng"
    cell = [0, 1, 3, 2]
    tags = [
        *writer._picture_tags(raw.width, raw.height, 1, 32803, 1),
        shorts(33421, 2, 2),
        octets(33422, 0, 1, 1, 2),
        shorts(50713, 2, 2),
        rationals(50714, *(raw.black[c] for c in cell)),
        longs(50717, 15000),
        longs(50829, 1, 1, raw.height - 1, raw.width - 2),
        *writer._colour_tags(raw.shot, raw.matrix, raw.white_balance, 0.0),
    ]
    writer._write(path, tags, None, (raw.mosaic,))
    again = read_raw(path)
    assert again.pattern == "BGGR"
    # an odd row is left out
    np.testing.assert_array_equal(again.mosaic, raw.mosaic[2:-2, 2:-2])


@pytest.mark.parametrize(("top", "left", "expected"), [(0, 0, "RGGB"), (1, 0, "GBRG"), (0, 3, "GRBG"), (5, 7, "BGGR")])
def test_patterns_begin_at_the_visible_corner(top: int, left: int, expected: str) -> None:
    sizes = SimpleNamespace(top_margin=top, left_margin=left)
    opened = SimpleNamespace(raw_pattern=np.array([[0, 1], [3, 2]]), color_desc=b"RGBG", num_colors=3, sizes=sizes)
    assert _pattern(opened) == expected


@pytest.mark.parametrize(
    ("cell", "letters", "words"),
    [
        (None, b"RGBG", "all colours of each pixel"),
        (np.zeros((16, 16), int), b"RGBG", "repeats after 16 x 16"),
        (np.array([[0, 1], [2, 3]]), b"GMCY", "its colours are GMCY"),
    ],
)
def test_mosaics_for_libraw(cell: np.ndarray | None, letters: bytes, words: str) -> None:
    sizes = SimpleNamespace(top_margin=0, left_margin=0)
    with pytest.raises(NoBayer, match=words):
        _pattern(SimpleNamespace(raw_pattern=cell, color_desc=letters, num_colors=4, sizes=sizes))


def test_without_rawpy(taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mosaic(taken(), tmp_path / "a.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(MissingExtraError, match=r"needs rawpy.*pip install 'tapetum\[raw\]'"):
        read_picture(tmp_path / "a.dng")


def test_no_bayer_is_told_apart(changed: Callable[..., Path], rawpy: object) -> None:
    with pytest.raises(NoBayer):
        read_raw(changed("a.dng", 33422, "<4B", 7, 7, 7, 7))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pattern": "RGBG"}, "RGGB, BGGR, GRBG, GBRG"),
        ({"mosaic": np.zeros((3, 4), np.uint16)}, "even sides"),
        ({"white": 400.0}, "black level"),
        ({"black": (-1.0, 0.0, 0.0, 0.0)}, "at least 0"),
        ({"white_balance": (0.0, 1.0, 1.0)}, "white balance"),
        ({"white_balance": (float("nan"), 1.0, 1.0)}, "white balance"),
        ({"matrix": np.ones((3, 3))}, "matrix has no inverse"),
        ({"matrix": np.full((3, 3), np.nan)}, "matrix has no inverse"),
        ({"orientation": 2}, "1, 3, 6 or 8, got 2"),
    ],
)
def test_values_that_make_no_picture(changes: dict[str, Any], words: str, taken: Taken) -> None:
    with pytest.raises(InputError, match=words):
        taken().replace(**changes)
