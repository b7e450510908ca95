"""Colour profiles: to sRGB for the network, back into the file's own on writing."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from tapetum.errors import TapetumWarning
from tapetum.imaging import Picture, linear_to_srgb, read_picture, srgb_to_linear, write_picture

MakeProfile = Callable[[str | None, str], bytes]
Encode = Callable[..., bytes]
Put = Callable[[str, bytes], Path]
D50_TO_SRGB = np.linalg.inv([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])


def colours(dtype: type) -> np.ndarray:
    """(33, 1089, 3): all of the RGB cube, the shadows finer."""
    steps = np.round(np.linspace(0, 1, 33) ** 2 * np.iinfo(dtype).max).astype(dtype)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(33, -1, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("name", "curve", "matrix", "decode"),
    [("p3", "srgb", P3, srgb_to_linear), ("adobe", "adobe", ADOBE, lambda v: v ** (563 / 256))],
)
def test_colours_are_those_of_the_formulas(
    tmp_path: Path, profile: MakeProfile, dtype: type, name: str, curve: str, matrix: np.ndarray, decode: Callable
) -> None:
    pixels = colours(dtype)
    top = np.iinfo(dtype).max
    _save(tmp_path / "a.tif", pixels, profile(name, curve))
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.uint16  # 8 bits would lose shadows on the way
    assert picture.depth == 8 * pixels.dtype.itemsize
    linear = decode(pixels / top) @ matrix.T @ D50_TO_SRGB.T
    expected = linear_to_srgb(np.clip(linear, 0, 1))
    # The primaries above have five digits: next to black, where sRGB is steepest, that is most of this
    error = np.abs(picture.pixels / 65535 - expected)
    assert error.max() < 0.7 / 255
    assert error.mean() < 0.01 / 255

    write_picture(picture, tmp_path / "b.tif")
    stored = _raw(tmp_path / "b.tif")
    inside = ((linear >= 0) & (linear <= 1)).all(axis=-1)
    assert inside.mean() > 0.25
    assert stored.dtype == dtype
    assert np.abs(stored.astype(int) - pixels)[inside].max() <= (1 if dtype == np.uint8 else 400)
    assert np.abs(stored.astype(int) - pixels)[inside].mean() <= (0.02 if dtype == np.uint8 else 6)
    assert pyvips.Image.new_from_file(str(tmp_path / "b.tif")).get("icc-profile-data") == profile(name, curve)


def test_agrees_with_little_cms(profile: MakeProfile, encode: Encode, put: Put, photo: np.ndarray) -> None:
    picture = read_picture(put("a.png", encode(photo, "PNG", icc_profile=profile("p3", "srgb"))))
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile("p3", "srgb")))
    theirs = ImageCms.profileToProfile(
        Image.fromarray(photo), source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    assert np.abs(picture.pixels / 257 - np.asarray(theirs)).max() < 1.5


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("name", ["p3", "adobe"])
def test_profile_is_kept_in_every_format(
    tmp_path: Path, profile: MakeProfile, encode: Encode, put: Put, photo: np.ndarray, suffix: str, name: str
) -> None:
    icc = profile(name, "srgb")
    picture = read_picture(put("a.png", encode(photo, "PNG", icc_profile=icc)))
    write_picture(picture, tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.info["icc_profile"] == icc
        stored = np.asarray(image.convert("RGB")).astype(int)
    inside = ((picture.pixels > 0) & (picture.pixels < 65535)).all(axis=-1)
    error = np.abs(stored - photo)[inside]
    assert error.max() <= 1 if suffix in (".png", ".tif") else error.mean() < 3


def test_srgb_profile_changes_nothing(profile: MakeProfile, encode: Encode, put: Put, photo: np.ndarray) -> None:
    theirs = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (theirs, profile("srgb", "srgb"), pyvips.Operation.call("profile_load", "srgb")):
        picture = read_picture(put("a.png", encode(photo, "PNG", icc_profile=icc)))
        assert picture.icc == icc
        np.testing.assert_array_equal(picture.pixels, photo)


def test_grey_profile(tmp_path: Path, profile: MakeProfile, encode: Encode, put: Put) -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    picture = read_picture(put("a.png", encode(ramp, "PNG", icc_profile=profile(None, "adobe"))))
    assert picture.pixels.shape == (1, 256, 1)
    expected = linear_to_srgb((np.arange(256) / 255) ** (563 / 256))
    assert np.abs(picture.pixels.ravel() / 65535 - expected).max() < 0.2 / 255
    write_picture(picture, tmp_path / "b.png")
    np.testing.assert_array_equal(_raw(tmp_path / "b.png")[..., 0], ramp)


def test_alpha_is_not_converted(
    profile: MakeProfile, tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray
) -> None:
    rgba = np.concatenate([photo, photo[..., :1]], axis=-1)
    picture = read_picture(put("a.png", encode(rgba, "PNG", icc_profile=profile("p3", "srgb"))))
    assert picture.alpha is not None
    assert picture.alpha.dtype == np.uint16
    write_picture(picture, tmp_path / "b.png")
    np.testing.assert_array_equal(_raw(tmp_path / "b.png")[..., 3], photo[..., 0])


def test_linear_float_tiff(tmp_path: Path, profile: MakeProfile) -> None:
    linear = np.linspace(0, 1, 300, dtype=np.float32).reshape(10, 10, 3)
    _save(tmp_path / "a.tif", linear, profile("srgb", "linear"))
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.pixels.dtype, picture.depth) == (np.float32, 32)
    np.testing.assert_allclose(picture.pixels, linear_to_srgb(linear), atol=2e-4)
    write_picture(picture, tmp_path / "b.tif")
    np.testing.assert_allclose(_raw(tmp_path / "b.tif"), linear, atol=5e-5)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("icc", ["garbage", "cut", "tag beyond the end", "header only"])
def test_corrupt_profile_is_a_warning(
    profile: MakeProfile, encode: Encode, put: Put, photo: np.ndarray, kind: str, icc: str
) -> None:
    good = profile("p3", "srgb")
    bad = {
        "garbage": b"garbage" * 100,
        "cut": good[:200],
        "tag beyond the end": good[:136] + b"\0\xff\0\0" + good[140:],
        "header only": good[:128] + bytes(300),
    }[icc]
    path = put("a", encode(photo, kind, icc_profile=bad, **({"lossless": True} if kind == "WEBP" else {})))
    with pytest.warns(TapetumWarning, match=r"a: its colour profile is corrupt.*taken as sRGB"):
        picture = read_picture(path)
    assert picture.icc is None
    assert picture.pixels.dtype == np.uint8


def test_profile_of_another_space_is_a_warning(
    profile: MakeProfile, encode: Encode, put: Put, photo: np.ndarray
) -> None:
    path = put("a.jpg", encode(photo[..., 0], "JPEG", icc_profile=profile("p3", "srgb")))
    with pytest.warns(TapetumWarning, match="its colour profile is for RGB, not for GRAY"):
        assert read_picture(path).icc is None


@pytest.mark.parametrize(("primaries", "space"), [("p3", "grey"), (None, "RGB")])
def test_png_with_a_profile_of_another_space(
    profile: MakeProfile, encode: Encode, put: Put, photo: np.ndarray, primaries: str | None, space: str
) -> None:
    """libpng throws it away and does not say why."""
    pixels = photo[..., 0] if space == "grey" else photo
    path = put("a.png", encode(pixels, "PNG", icc_profile=profile(primaries, "srgb")))
    with pytest.warns(TapetumWarning, match=f"its colour profile is corrupt or not for {space}: the colours are"):
        assert read_picture(path).icc is None


def test_profile_of_no_picture_is_a_warning(encode: Encode, put: Put, photo: np.ndarray) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    with pytest.warns(TapetumWarning, match="its colour profile is"):
        assert read_picture(put("a.jpg", encode(photo, "JPEG", icc_profile=lab))).icc is None


def test_cmyk_profile(encode: Encode, put: Put) -> None:
    rng = np.random.default_rng(0)
    inks = Image.fromarray(rng.integers(0, 256, (16, 16, 4), dtype=np.uint8), "CMYK")
    icc: bytes = pyvips.Operation.call("profile_load", "cmyk")
    own = read_picture(put("a.tif", encode(inks, "TIFF", icc_profile=icc)))
    theirs = ImageCms.profileToProfile(
        inks,
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert own.icc is None
    assert np.abs(own.pixels.astype(int) - np.asarray(theirs)).mean() < 1
    without = read_picture(put("b.tif", encode(inks, "TIFF")))  # libvips' own profile is the one it falls back on
    np.testing.assert_array_equal(own.pixels, without.pixels)


def make_table_profile() -> bytes:
    """sRGB as a version 2 profile of tables (lut16Type): 33 points a side each way, PCS Lab."""
    steps = np.linspace(0, 1, 33)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    d50 = np.array([0.9642, 1, 0.8249])
    t = srgb_to_linear(rgb) @ np.linalg.inv(D50_TO_SRGB).T / d50
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
    forth = np.stack([lab[..., 0] / 100, (lab[..., 1] + 128) / 255, (lab[..., 2] + 128) / 255], axis=-1) * 65280
    codes = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1) * 65535 / 65280
    fy = (codes[..., 0] * 100 + 16) / 116
    fx, fz = fy + (codes[..., 1] * 255 - 128) / 500, fy - (codes[..., 2] * 255 - 128) / 200
    f = np.stack([fx, fy, fz], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * d50
    back = np.clip(linear_to_srgb(np.clip(xyz @ D50_TO_SRGB.T, 0, 1)), 0, 1) * 65535

    def table(values: np.ndarray) -> bytes:
        head = struct.pack(">4sI4B", b"mft2", 0, 3, 3, 33, 0)
        matrix = struct.pack(">9i", *(65536 * v for v in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
        ramp = struct.pack(">6H", *(0, 65535) * 3)
        return head + matrix + struct.pack(">HH", 2, 2) + ramp + np.rint(values).astype(">u2").tobytes() + ramp

    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = [(b"wtpt", white), (b"A2B0", table(forth)), (b"B2A0", table(back))]
    listing, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        listing += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 128 + len(listing) + len(body)
    header = struct.pack(">IIIII4s12s4s", size, 0, 0x02400000, 0x70727472, 0x52474220, b"Lab ", bytes(12), b"acsp")
    return header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061).ljust(60, b"\0") + listing + body


def test_table_profile(tmp_path: Path, encode: Encode, put: Put, photo: np.ndarray) -> None:
    soft = (photo // 2 + 50).astype(np.uint8)
    picture = read_picture(put("a.png", encode(soft, "PNG", icc_profile=make_table_profile())))
    assert (picture.pixels.dtype, picture.depth) == (np.uint16, 8)
    assert np.abs(picture.pixels / 257 - soft).mean() < 1.5  # the tables say sRGB, coarsely
    write_picture(picture, tmp_path / "b.png")
    assert np.abs(_raw(tmp_path / "b.png").astype(int) - soft).mean() < 1.5
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == make_table_profile()


def _save(path: Path, pixels: np.ndarray, icc: bytes) -> None:
    image = pyvips.Image.new_from_array(pixels).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    image.tiffsave(str(path))


def _raw(path: Path) -> np.ndarray:
    return pyvips.Image.new_from_file(str(path)).numpy().reshape(*_shape(path))


def _shape(path: Path) -> tuple[int, int, int]:
    image = pyvips.Image.new_from_file(str(path))
    return image.height, image.width, image.bands


def test_profile_that_no_longer_fits_is_left_out(tmp_path: Path, profile: MakeProfile, photo: np.ndarray) -> None:
    write_picture(Picture(photo, icc=profile(None, "adobe")), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert "icc_profile" not in image.info
        np.testing.assert_array_equal(np.asarray(image), photo)
