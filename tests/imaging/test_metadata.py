"""What belongs to a photograph besides its pixels survives."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from tapetum.imaging import read_picture, write_picture
from tapetum.imaging.exif import gather, without_thumbnail

Encode = Callable[..., bytes]
Put = Callable[[str, bytes], Path]
SUFFIXES = [".jpg", ".png", ".tif", ".webp"]
ORIENTATION, EXIF_IFD, GPS_IFD = 0x112, 0x8769, 0x8825
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'


def make_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x10F] = "Maker"
    exif[0x110] = "Model 1"
    exif[0x132] = "2024:12:31 23:59:59"
    exif[0x8298] = "Somebody"
    details = exif.get_ifd(EXIF_IFD)
    details[0x829A] = IFDRational(1, 60)
    details[0x8827] = 3200
    details[0x9003] = "2024:12:31 23:59:58"
    details[0x927C] = b"MAKERNOTE\x00\x01\x02\x03"
    details[0xA434] = "50mm f/1.8"
    gps = exif.get_ifd(GPS_IFD)
    gps[1] = "N"
    gps[2] = (IFDRational(48), IFDRational(8), IFDRational(31, 2))
    return exif


def check_exif(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        assert exif[0x10F] == "Maker"
        assert exif[0x110] == "Model 1"
        assert exif[0x132] == "2024:12:31 23:59:59"
        assert exif[0x8298] == "Somebody"
        assert exif.get(ORIENTATION, 1) == 1
        details = exif.get_ifd(EXIF_IFD)
        assert details[0x829A] == pytest.approx(1 / 60)
        assert details[0x8827] == 3200
        assert details[0x9003] == "2024:12:31 23:59:58"
        assert details[0x927C] == b"MAKERNOTE\x00\x01\x02\x03"
        assert details[0xA434] == "50mm f/1.8"
        assert exif.get_ifd(GPS_IFD)[2] == (48, 8, 15.5)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_from_every_format_to_every_format(
    tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, kind: str, suffix: str
) -> None:
    picture = read_picture(put("a", encode(photo, kind, exif=make_exif())))
    write_picture(picture, tmp_path / f"b{suffix}")
    check_exif(tmp_path / f"b{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exif_of_a_tiff(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, suffix: str) -> None:
    picture = read_picture(put("a", encode(photo, "JPEG", exif=make_exif())))
    write_picture(picture, tmp_path / "first.tif")
    write_picture(read_picture(tmp_path / "first.tif"), tmp_path / f"b{suffix}")
    check_exif(tmp_path / f"b{suffix}")
    with Image.open(tmp_path / "first.tif") as image:  # the pixels are where they were
        np.testing.assert_array_equal(np.asarray(image), picture.pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_of_a_16_bit_tiff(tmp_path: Path, order: Any) -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 1000
    tags = [(271, "s", 0, "Maker", True), (33432, "s", 0, "Somebody", True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=order, extratags=tags, photometric="rgb", description="dark")
    write_picture(read_picture(tmp_path / "a.tif"), tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found = file.pages[0].tags
        assert [found[n].value for n in (270, 271, 33432)] == ["dark", "Maker", "Somebody"]
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels, pixels)


def upright(photo: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels of which a viewer shows ``photo`` (EXIF 2.3, 4.6.4 A: where row 0 and column 0 are)."""
    rows_down, columns_right, swapped = {
        1: (True, True, False),
        2: (True, False, False),
        3: (False, False, False),
        4: (False, True, False),
        5: (True, True, True),
        6: (True, False, True),
        7: (False, False, True),
        8: (False, True, True),
    }[orientation]
    view = photo[:: 1 if rows_down else -1, :: 1 if columns_right else -1]
    return np.ascontiguousarray(view.transpose(1, 0, 2) if swapped else view)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_orientation_is_applied_once(
    tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, kind: str, orientation: int
) -> None:
    path = put("a", encode(upright(photo, orientation), kind, exif=make_exif(orientation)))
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, photo)
    assert picture.pixels.flags.c_contiguous
    for suffix in (".png", ".tif"):
        write_picture(picture, tmp_path / f"b{suffix}")
        np.testing.assert_array_equal(read_picture(tmp_path / f"b{suffix}").pixels, photo)
        with Image.open(tmp_path / f"b{suffix}") as image:
            assert image.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_orientation_of_lossy_formats(
    tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, suffix: str, orientation: int
) -> None:
    kind = {".jpg": "JPEG", ".webp": "WEBP"}[suffix]
    path = put("a", encode(upright(photo, orientation), kind, exif=make_exif(orientation), quality=95))
    write_picture(read_picture(path), tmp_path / f"b{suffix}")
    again = read_picture(tmp_path / f"b{suffix}").pixels
    assert again.shape == photo.shape
    assert np.abs(again.astype(int) - photo).mean() < 4


def test_orientation_turns_alpha_too(encode: Encode, put: Put, photo: np.ndarray) -> None:
    rgba = np.concatenate([photo, photo[..., :1]], axis=-1)
    picture = read_picture(put("a", encode(upright(rgba, 6), "PNG", exif=make_exif(6))))
    np.testing.assert_array_equal(picture.pixels, photo)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, photo[..., 0])


def test_thumbnail_is_dropped(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray) -> None:
    thumbnail = encode(photo[:16, :16], "JPEG")
    block = make_exif().tobytes()
    assert block[6:14] == b"MM\0*\0\0\0\x08"
    # Pillow writes none: hang a directory with the thumbnail behind the first one
    link = 6 + 8 + 2 + 12 * int.from_bytes(block[14:16], "big")
    where = len(block) - 6
    entries = [(0x103, 3, 6 << 16), (0x201, 4, where + 42), (0x202, 4, len(thumbnail))]
    directory = b"\0\3" + b"".join(struct.pack(">HHII", tag, kind, 1, value) for tag, kind, value in entries) + bytes(4)
    block = block[:link] + where.to_bytes(4, "big") + block[link + 4 :] + directory + thumbnail
    path = put("a.jpg", encode(photo, "JPEG", exif=block))
    assert thumbnail[:100] in path.read_bytes()
    picture = read_picture(path)
    write_picture(picture, tmp_path / "b.jpg")
    written = (tmp_path / "b.jpg").read_bytes()
    assert written.count(b"\xff\xd8\xff") == 1
    check_exif(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_is_left_alone(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, block: bytes) -> None:
    assert without_thumbnail(block) == block
    picture = read_picture(put("a.jpg", encode(photo, "JPEG", exif=block)))
    for suffix in SUFFIXES:
        write_picture(picture, tmp_path / f"b{suffix}")
        assert read_picture(tmp_path / f"b{suffix}").pixels.shape == photo.shape


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_xmp(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, kind: str, suffix: str) -> None:
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        data = encode(photo, kind, pnginfo=info)
    elif kind == "TIFF":
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, photo, extratags=[(700, "B", len(XMP), XMP, True)], photometric="rgb")
        data = buffer.getvalue()
    else:
        data = encode(photo, kind, xmp=XMP)
    write_picture(read_picture(put("a", data)), tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        image.load()
        if suffix == ".tif":
            found = image.tag_v2[700]  # type: ignore[attr-defined]
        elif suffix == ".png":  # libvips compresses it, so it is a text chunk for Pillow
            found = image.info["XML:com.adobe.xmp"].encode()
        else:
            found = image.info["xmp"]
    assert found == XMP


CAPTION = b"\x1c\x02\x78\x00\x09A caption"


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_iptc_of_a_jpeg(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, suffix: str) -> None:
    resource = b"8BIM\x04\x04\x00\x00" + len(CAPTION).to_bytes(4, "big") + CAPTION
    block = b"Photoshop 3.0\0" + resource
    jpeg = encode(photo, "JPEG")
    path = put("a.jpg", jpeg[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:])
    write_picture(read_picture(path), tmp_path / f"b{suffix}")
    write_picture(read_picture(tmp_path / f"b{suffix}"), tmp_path / "c.jpg")
    with Image.open(tmp_path / "c.jpg") as image:
        assert image.info["photoshop"][0x404] == CAPTION


def test_iptc_of_a_tiff(tmp_path: Path, photo: np.ndarray) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", photo, extratags=[(33723, "B", len(CAPTION), CAPTION, True)], photometric="rgb"
    )
    write_picture(read_picture(tmp_path / "a.tif"), tmp_path / "b.tif")
    with Image.open(tmp_path / "b.tif") as image:
        assert image.tag_v2[33723] == CAPTION  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_resolution(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, kind: str, suffix: str) -> None:
    write_picture(read_picture(put("a", encode(photo, kind, dpi=(240, 240)))), tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.info["dpi"] == pytest.approx((240, 240), abs=0.02)


def test_silent_about_resolution(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray) -> None:
    picture = read_picture(put("a", encode(photo, "WEBP")))
    assert picture.dpi is None
    write_picture(picture, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.info["dpi"] == (72, 72)


def test_large_tags_of_a_tiff(tmp_path: Path, photo: np.ndarray) -> None:
    """What no JPEG can hold, and a Photoshop block larger than any EXIF."""
    note, layers = bytes(range(256)) * 300, b"8BIM" + bytes(17_000_000)
    tags = [(271, "s", 0, note.hex(), True), (34377, "B", len(layers), layers, True), (315, "s", 0, "Somebody", True)]
    tifffile.imwrite(tmp_path / "a.tif", photo, extratags=tags, photometric="rgb")
    picture = read_picture(tmp_path / "a.tif")
    write_picture(picture, tmp_path / "b.tif")
    write_picture(picture, tmp_path / "b.jpg")
    assert read_picture(tmp_path / "b.jpg").pixels.shape == photo.shape
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].tags[271].value == note.hex()
        assert file.pages[0].tags[315].value == "Somebody"
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels, photo)


def test_a_directory_that_repeats_a_huge_value_is_given_up(tmp_path: Path) -> None:
    # 4000 entries that all point to the same 8 MB would be 32 GB
    entries = b"".join(struct.pack("<HHII", 271, 7, 8_000_000, 8) for _ in range(4000))
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8_000_008) + bytes(8_000_000) + struct.pack("<H", 4000) + entries)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert gather(descriptor) is None
    finally:
        os.close(descriptor)


def test_resolution_turns_with_the_picture(encode: Encode, put: Put, photo: np.ndarray) -> None:
    path = put("a.tif", encode(photo, "TIFF", exif=make_exif(6), dpi=(300, 100)))
    assert read_picture(path).dpi == pytest.approx((100, 300), abs=0.1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_texts_in_other_encodings(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray, kind: str) -> None:
    text = "Nächte in Köln"
    if kind == "PNG":
        info = PngInfo()
        info.add_text("Title", text.encode("latin-1"))
        data = encode(photo, kind, pnginfo=info)
    else:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, photo, photometric="rgb", description=text.encode("latin-1"))
        data = buffer.getvalue()
    picture = read_picture(put("a", data))
    write_picture(picture, tmp_path / "b.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels, photo)
    assert (text.encode("latin-1") in (tmp_path / "b.tif").read_bytes()) == (kind == "TIFF")


def test_absurd_resolution(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray) -> None:
    picture = read_picture(put("a.tif", encode(photo, "TIFF", dpi=(2e9, 2e9))))
    assert picture.dpi is None
    write_picture(picture, tmp_path / "b.png")


def test_png_comments(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray) -> None:
    """The ASCII ones are kept; others would come out garbled, and are not."""
    info = PngInfo()
    info.add_text("Author", "J\xf6rg".encode("latin-1"))
    info.add_itxt("Comment", "\u65e5\u672c")
    info.add_text("Title", "Night")
    write_picture(read_picture(put("a.png", encode(photo, "PNG", pnginfo=info))), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        image.load()
        assert image.text == {"Title": "Night"}  # type: ignore[attr-defined]
