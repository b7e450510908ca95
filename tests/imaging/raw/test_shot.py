"""Where cameras keep how a picture was taken. Files are made by hand after the formats' descriptions."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tapetum.imaging import exif
from tapetum.imaging.raw.entries import octets, rationals, shorts, text
from tapetum.imaging.raw.shot import Shot, read_shot, shot_of, with_block

IMAGE = [text(271, "Maker"), text(272, "Model 5")]
SHOT = [rationals(33434, 0.02), rationals(33437, 2.8), shorts(34855, 3200), octets(37500, *range(40))]
TIFF = exif.block(IMAGE, SHOT)[len(exif.PREFIX) :]


def check(shot: Shot) -> None:
    assert (shot.make, shot.model, shot.iso) == ("Maker", "Model 5", 3200)
    assert shot.exposure_time == pytest.approx(0.02)
    assert shot.aperture == pytest.approx(2.8)
    assert shot.focal_length is None
    assert shot.exif is not None
    assert 37500 not in exif.values(shot.exif)  # the maker note refers to places of the camera's file


def test_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.arw"
    path.write_bytes(TIFF)
    check(read_shot(path))


@pytest.mark.parametrize("start", [b"IIU\0", b"IIRO", b"IIRS"])
def test_relatives_of_tiff(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.rw2"
    path.write_bytes(start + TIFF[4:])
    check(read_shot(path))


def test_fuji(tmp_path: Path) -> None:
    preview = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(TIFF) + 8) + exif.PREFIX + TIFF
    path = tmp_path / "a.raf"
    path.write_bytes(b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">2I", 160, len(preview)) + bytes(68) + preview)
    check(read_shot(path))


def test_canon(tmp_path: Path) -> None:
    def box(name: bytes, *entries: exif.Entry) -> bytes:
        structure = exif.block(list(entries), [])[len(exif.PREFIX) :]
        return struct.pack(">I4s", 8 + len(structure), name) + structure

    boxes = box(b"CMT1", *IMAGE) + box(b"CMT2", *SHOT) + box(b"CMT4")
    path = tmp_path / "a.cr3"
    path.write_bytes(struct.pack(">I4s4s", 24, b"ftyp", b"crx ") + bytes(12) + boxes)
    check(read_shot(path))


@pytest.mark.parametrize(
    "data", [b"", b"II*\0\xff\xff\xff\xff", b"FUJIFILMCCD-RAW ", bytes(4) + b"ftypcrx " + bytes(50)]
)
def test_silent_files(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(data)
    assert read_shot(path) == Shot()


def test_a_block_of_what_is_known() -> None:
    known = with_block(Shot("Maker", "Model 5", 102400, 1 / 3))
    assert shot_of(known.exif).exposure_time == pytest.approx(1 / 3)
    assert shot_of(known.exif).iso == 65535  # the most that the tag holds
    assert with_block(Shot()).exif is None
