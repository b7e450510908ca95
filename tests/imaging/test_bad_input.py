"""Files that are not what they should be: one clear line each."""

from __future__ import annotations

import base64
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image

from tapetum.errors import InputError, TapetumWarning
from tapetum.imaging import Picture, read_picture, write_picture

Encode = Callable[..., bytes]
Put = Callable[[str, bytes], Path]


def refusal(path: Path, **options: int) -> str:
    """What the error says after the path."""
    with pytest.raises(InputError) as caught:
        read_picture(path, **options)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text[len(f"{path}: ") :]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in chunks)


def tiff_of_size(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(300)


def gif_of_size(width: int, height: int) -> bytes:
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\x80\0\0" + bytes(3) + b"\xff" * 3 + b"," + bytes(4) + size + b"\0\2\2\x4c\1\0;"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "AVIF"])
@pytest.mark.parametrize("part", [0.03, 0.2, 0.5, 0.9, 0.98])
def test_truncated(encode: Encode, put: Put, kind: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 100, 3), dtype=np.uint8)
    data = encode(noise, kind)
    assert "damaged or cut off" in refusal(put("picture.jpg", data[: int(len(data) * part)]))


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": "4:4:4"}, {"quality": 5}])
def test_truncated_jpeg_is_never_half_grey(encode: Encode, put: Put, photo: np.ndarray, options: dict) -> None:
    data = encode(photo, "JPEG", **options)
    for size in range(len(data) // 4, len(data), len(data) // 12):
        assert "damaged or cut off" in refusal(put("picture.jpg", data[:size]))


def test_damage_in_the_middle(encode: Encode, put: Put, photo: np.ndarray) -> None:
    data = bytearray(encode(photo, "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert "damaged or cut off" in refusal(put("picture.png", bytes(data)))


def test_a_jpeg_with_less_data_than_its_size_is_never_half_grey(encode: Encode, put: Put, photo: np.ndarray) -> None:
    data = bytearray(encode(photo, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 256, 256)
    assert "damaged or cut off: VipsJpeg: Corrupt JPEG data: premature end" in refusal(put("a.jpg", bytes(data)))


def test_a_jpeg_that_is_odd_but_whole_is_read_with_a_word(encode: Encode, put: Put, photo: np.ndarray) -> None:
    data = encode(photo, "JPEG")
    whole = read_picture(put("a.jpg", data)).pixels
    scan = data.index(b"\xff\xda")
    path = put("b.jpg", data[:scan] + bytes(8) + data[scan:])
    with pytest.warns(TapetumWarning, match=r"b\.jpg: parts of it may be wrong: Corrupt JPEG data: 8 extraneous bytes"):
        assert np.array_equal(read_picture(path).pixels, whole)


def test_empty(put: Put) -> None:
    assert refusal(put("picture.jpg", b"")) == "the file is empty"


@pytest.mark.parametrize("data", [b"a text, not a picture\n" * 50, b"%PDF-1.7\n", b"\0" * 5000, b"\xff\xd8", b"x"])
def test_no_picture(put: Put, data: bytes) -> None:
    said = refusal(put("picture.jpg", data))
    assert said == "not a picture that can be read (JPEG, PNG, TIFF, WEBP, AVIF, GIF, camera RAW)"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "a.txt", "a", "a[page=3]", "a[1].png"])
def test_content_counts_not_the_name(encode: Encode, put: Put, photo: np.ndarray, kind: str, name: str) -> None:
    picture = read_picture(put(name, encode(photo, kind)))
    assert picture.format == kind.lower()
    assert picture.pixels.shape == photo.shape


def test_missing_folder_and_special_files(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.jpg") == "no such file"
    assert refusal(tmp_path) == "is a folder, not a picture"
    (tmp_path / "file").write_bytes(b"x")
    assert refusal(tmp_path / "file" / "a.jpg") == "cannot be read: not a directory"
    assert refusal(tmp_path / ("n" * 300 + ".jpg")) == "cannot be read: file name too long"
    with pytest.raises(InputError, match="null byte"):
        read_picture("a\0b.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    assert refusal(tmp_path / "pipe.jpg") == "is not an ordinary file"


def deny(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_not_permitted(encode: Encode, put: Put, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put("a.png", encode(photo, "PNG"))
    monkeypatch.setattr(os, "open", deny)  # who runs the tests may be root, who may read everything
    assert refusal(path) == "cannot be read: permission denied"


@pytest.mark.parametrize("name", ["日本 – ü.png", "n" * 251 + ".png", b"\xff\xfe.png"])
def test_odd_names(tmp_path: Path, photo: np.ndarray, name: str | bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    write_picture(Picture(photo), path)
    np.testing.assert_array_equal(read_picture(path).pixels, photo)
    assert len(list(tmp_path.iterdir())) == 1


BOMBS = {
    "png": png_of_size(60_000, 60_000),
    "tiff": tiff_of_size(60_000, 60_000),
    "gif": gif_of_size(60_000, 60_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bomb(put: Put, kind: str) -> None:
    said = refusal(put("bomb", BOMBS[kind]))
    assert said == (
        "60000 x 60000 = 3600 million pixels, more than the limit of 200 million (raise it with --max-pixels)"
    )


def test_jpeg_bomb(encode: Encode, put: Put, photo: np.ndarray) -> None:
    data = bytearray(encode(photo, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    assert refusal(put("bomb", bytes(data))).startswith("65500 x 65500 = 4290.2 million pixels")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_bombs_allocate_nothing(put: Put) -> None:
    paths = [str(put(f"bomb.{kind}", data)) for kind, data in BOMBS.items()]
    code = """
import resource, sys
from tapetum.errors import InputError
from tapetum.imaging import read_picture
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
for path in sys.argv[1:]:
    try:
        read_picture(path)
    except InputError:
        print(peak() - before)
"""
    said = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True).stdout
    grown = [int(line) for line in said.split()]
    assert len(grown) == len(BOMBS)
    assert max(grown) < 30_000  # kB; the pixels would be 10 GB


def test_limit_is_an_option(encode: Encode, put: Put, photo: np.ndarray) -> None:
    path = put("a.png", encode(photo, "PNG"))
    assert read_picture(path, max_pixels=48 * 64).pixels.shape == photo.shape
    said = refusal(path, max_pixels=48 * 64 - 1)
    assert said == "64 x 48 = 3072 pixels, more than the limit of 3071 (raise it with --max-pixels)"


@pytest.mark.parametrize("size", [(0, 5), (2**31 - 1, 2**31 - 1)])
def test_impossible_size(put: Put, size: tuple[int, int]) -> None:
    assert "damaged or cut off" in refusal(put("a.png", png_of_size(*size)))


def test_a_file_that_promises_more_than_it_has(put: Put) -> None:
    assert "damaged or cut off" in refusal(put("a.tif", tiff_of_size(5000, 5000)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation(encode: Encode, put: Put, photo: np.ndarray, kind: str) -> None:
    data = encode(photo, kind, save_all=True, append_images=[Image.fromarray(255 - photo)])
    said = refusal(put("a", data))
    assert re.fullmatch(r"an animation( of 2 frames)?; only still pictures can be enhanced", said)


def test_pages(encode: Encode, put: Put, photo: np.ndarray) -> None:
    path = put("a.tif", encode(photo, "TIFF", save_all=True, append_images=[Image.fromarray(255 - photo)]))
    with pytest.warns(TapetumWarning, match="only the first of its 2 pages is read"):
        np.testing.assert_array_equal(read_picture(path).pixels, photo)


def test_raw_and_jpeg_xl_are_told_apart(put: Put) -> None:
    preview = tiff_of_size(4, 4)
    pytest.importorskip("rawpy", reason="the raw extra is not installed")
    assert "not a camera RAW file that LibRaw" in refusal(put("a.NEF", preview))
    assert "not a camera RAW file that LibRaw" in refusal(put("a.jpg", preview[:8] + b"CR\2\0" + preview[12:]))
    assert "JPEG XL cannot be read" in refusal(put("a.jxl", b"\xff\x0a123"))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_smallest_and_longest(tmp_path: Path, encode: Encode, put: Put, kind: str, size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 77, np.uint8)
    path = put("a", encode(pixels, kind))
    picture = read_picture(path)
    assert np.abs(picture.pixels.astype(int) - 77).max() <= 1
    write_picture(picture, tmp_path / f"b.{kind.lower()}")
    assert read_picture(tmp_path / f"b.{kind.lower()}").pixels.shape == pixels.shape


@pytest.mark.parametrize(
    ("mode", "kind", "channels", "alpha"),
    [
        ("L", "JPEG", 1, False),
        ("L", "PNG", 1, False),
        ("L", "TIFF", 1, False),
        ("1", "PNG", 1, False),
        ("1", "TIFF", 1, False),
        ("LA", "PNG", 1, True),
        ("P", "PNG", 3, False),
        ("P", "TIFF", 3, False),
        ("P", "GIF", 3, False),
        ("RGBA", "PNG", 3, True),
        ("RGBA", "TIFF", 3, True),
        ("RGBA", "WEBP", 3, True),
        ("RGB", "AVIF", 3, False),
    ],
)
def test_kinds_of_pixels(
    encode: Encode, put: Put, photo: np.ndarray, mode: str, kind: str, channels: int, alpha: bool
) -> None:
    image = Image.fromarray(photo)
    if "A" in mode:
        image.putalpha(Image.fromarray(photo[..., 1]))
    image = image.convert(mode)
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read_picture(put("a", encode(image, kind, **options)))
    assert picture.pixels.shape == (48, 64, channels)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable
    shown = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(48, 64, channels)
    opaque = np.asarray(image.convert("RGBA"))[..., 3] > 0  # WebP may forget colours that cannot be seen
    error = np.abs(picture.pixels.astype(int) - shown)[opaque]
    assert error.mean() < 4 if kind in ("JPEG", "AVIF") else error.max() == 0
    assert (picture.alpha is not None) == alpha
    if picture.alpha is not None:
        np.testing.assert_array_equal(picture.alpha, photo[..., 1])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(tmp_path: Path, encode: Encode, put: Put, kind: str) -> None:
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:4, :, 2] = 255  # yellow above white
    image = Image.fromarray(inks, "CMYK")
    picture = read_picture(put("a", encode(image, kind)))
    assert picture.pixels.shape == (8, 8, 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.icc is None
    red, green, blue = picture.pixels[1, 1].astype(int)
    assert min(red, green) > 200 > 100 > blue
    assert picture.pixels[6, 6].min() > 245
    write_picture(picture, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.mode == "RGB"


def test_float_tiff_with_impossible_numbers(tmp_path: Path) -> None:
    pixels = np.full((4, 5, 3), 0.25, np.float32)
    pixels[0, 0] = (np.nan, np.inf, -np.inf)
    pixels[1, 1, 0] = 3.5
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    with pytest.warns(TapetumWarning, match="3 samples are not finite numbers: replaced"):
        picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.float32
    np.testing.assert_array_equal(picture.pixels[0, 0], [0, 3.5, 0])
    pixels[0, 0] = (0, 3.5, 0)
    np.testing.assert_array_equal(picture.pixels, pixels)
    tifffile.imwrite(tmp_path / "b.tif", np.full((2, 2), np.inf, np.float32))
    with pytest.warns(TapetumWarning, match="4 samples"):
        assert (read_picture(tmp_path / "b.tif").pixels == 1).all()


SAMPLES = "unsigned integers of at most 16 bits, or floats of at most 32, are needed"


@pytest.mark.parametrize(("dtype", "said"), [(np.int16, "samples of type short"), (np.uint32, "samples of type uint")])
def test_samples_of_other_types(tmp_path: Path, dtype: type, said: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), dtype))
    assert refusal(tmp_path / "a.tif") == f"{said} cannot be read ({SAMPLES})"


def test_double_precision_is_refused_in_words(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5)))
    assert refusal(tmp_path / "a.tif").endswith(f"that cannot be read ({SAMPLES})")


# 16 x 16 pixels as telephones write them (HEVC in HEIF; made with pillow-heif, compressed with zlib)
HEIC = zlib.decompress(
    base64.b85decode(
        b"c-muNV30{GsVvAy%}izhg51nBLl8SRGck>Ufw3kxwIq=N0u(b+a*CjAhJwuG5(YG&l$nzcHpIn&fe{FSfN=qY1_BizR?f`KO9S&j"
        b"qM|@fDif5KQI>27V)7MamgK^f{K+gRDge@VG7FOPfpjTQnKL6ZNN56Bk=zG{KYxGxU|`^9P5|nVaA4$N{Qn=MfElEM8HD6^F*zgx"
        b"B{iKG8PQ}GC^WK8d$n%Xvj>U`4m2<@@HBvgTatjP*<2V879Z>c+98~rpHq~VoKpc5<z-+4Dq#@GEG|feddvZeHIj1@K@Jmux*bga"
        b"|Ns92kY<9>An}6CicFA3W)2PxASIDmkP8cAV6d?^GBLBZ0NFaZDT$ykR?uKv&mtsr=E0AbhcfKnZM%57(mrFg_G8ca<r^g?t^B_L"
        b"0B*ToVE"
    )
)


def test_heic_of_a_telephone_is_not_called_damaged(put: Put) -> None:
    """The wheel of libvips cannot decode HEVC."""
    said = refusal(put("IMG_1.HEIC", HEIC))
    assert said == "this kind of HEIC cannot be decoded here: convert it to JPEG, PNG or TIFF first"


def test_a_profile_on_a_float_picture_clips_with_a_word(
    tmp_path: Path, profile: Callable[[str | None, str], bytes]
) -> None:
    pixels = np.array([[[0.1, 0.2, 3.0]]], np.float32)
    tags = [(34675, "B", len(data := profile("p3", "linear")), data, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags)
    with pytest.warns(TapetumWarning, match=r"samples from 0\.1 to 3 are clipped to 0\.\.1"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".dng"])
def test_highlights_that_do_not_fit_are_clipped_with_a_word(tmp_path: Path, suffix: str) -> None:
    picture = Picture(np.array([[[0.1, 0.2, 2.89]]], np.float32))
    path = tmp_path / f"a{suffix}"
    with pytest.warns(TapetumWarning, match=rf"a\{suffix}: samples from 0\.1 to 2\.89 are clipped to 0\.\.1") as said:
        write_picture(picture, path)
    assert (len(said), said[0].filename) == (1, __file__)
    write_picture(picture, tmp_path / "a.tif")  # holds them
    assert read_picture(tmp_path / "a.tif").pixels.max() == np.float32(2.89)
    picture.pixels[0, 0, 2] = 1.001
    write_picture(picture, path)


def test_highlights_do_not_pass_another_profile(tmp_path: Path, profile: Callable[[str | None, str], bytes]) -> None:
    picture = Picture(np.array([[[0.1, 0.2, 2.89]]], np.float32), icc=profile("p3", "srgb"))
    with pytest.warns(TapetumWarning, match="2.89 are clipped"):
        write_picture(picture, tmp_path / "a.tif")


def test_alpha_that_is_multiplied_in_is_divided_out(tmp_path: Path) -> None:
    pixels = np.full((4, 5, 4), (50, 25, 0, 128), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "a.tif")
    assert np.abs(picture.pixels[0, 0] - np.array([50, 25, 0]) * 255 / 128).max() <= 1
    write_picture(picture, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].tags["ExtraSamples"].value == (tifffile.EXTRASAMPLE.UNASSALPHA,)


def test_too_many_channels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 7), np.uint8), photometric="rgb", planarconfig="contig")
    assert "has 7 channels" in refusal(tmp_path / "a.tif")


def test_unknown_suffix(tmp_path: Path, photo: np.ndarray) -> None:
    for name in ("a.bmp", "a.heic", "a"):
        with pytest.raises(InputError, match=r"choose a name that ends in one of \.jpg, .*\.tiff, \.webp"):
            write_picture(Picture(photo), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_unwriteable(tmp_path: Path, photo: np.ndarray) -> None:
    with pytest.raises(InputError, match=rf"there is no folder {tmp_path}/absent$"):
        write_picture(Picture(photo), tmp_path / "absent" / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_picture(Picture(photo), tmp_path / "folder.png")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="not a directory"):
        write_picture(Picture(photo), tmp_path / "file" / "a.png")
    with pytest.raises(InputError, match="file name too long"):
        write_picture(Picture(photo), tmp_path / ("n" * 300 + ".png"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_read_only_folder(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(InputError, match=r"a\.png: cannot be written: permission denied$"):
        write_picture(Picture(photo), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), pyvips.Error("x", "y")])
def test_nothing_remains_of_a_failure(
    tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a.png"
    write_picture(Picture(photo), path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        assert len(list(tmp_path.iterdir())) == 2  # the temporary file is there
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else InputError):
        write_picture(Picture(255 - photo), path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_a_full_disk_is_called_so(tmp_path: Path, suffix: str) -> None:
    code = """
import resource, sys, numpy as np
from tapetum.errors import InputError
from tapetum.imaging import Picture, write_picture
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
try:
    write_picture(Picture(noise), sys.argv[1])
except InputError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / f"a{suffix}")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"{tmp_path / f'a{suffix}'}: cannot be written: file too large\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "width"), [(".jpg", 65_501), (".webp", 16_384)])
def test_too_wide_for_the_format(tmp_path: Path, suffix: str, width: int) -> None:
    picture = Picture(np.zeros((1, width, 3), np.uint8))
    with pytest.raises(InputError, match=f"has at most {width - 1} pixels a side"):
        write_picture(picture, tmp_path / f"a{suffix}")
    write_picture(picture.with_pixels(picture.pixels[:, 1:]), tmp_path / f"a{suffix}")
    assert read_picture(tmp_path / f"a{suffix}").width == width - 1


def test_overwrites_what_it_read(encode: Encode, put: Put, photo: np.ndarray) -> None:
    path = put("a.png", encode(photo, "PNG"))
    for _ in range(2):  # libvips must not answer from a cache of names
        picture = read_picture(path)
        write_picture(picture.with_pixels(255 - picture.pixels), path)
    np.testing.assert_array_equal(read_picture(path).pixels, photo)
