"""What is written is what is read."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tapetum.errors import TapetumWarning, UsageError
from tapetum.imaging import Picture, is_picture, output_suffix, read_picture, write_picture

SIZES = st.one_of(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.sampled_from([(1, 1), (1, 700), (700, 1)]))

LOSSLESS = [(".png", "uint8"), (".png", "uint16"), (".tif", "uint8"), (".tif", "uint16"), (".TIFF", "float32")]


def make(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return (rng.random(shape) * 1.5 - 0.25).astype(np.float32)  # floats may lie outside of 0..1
    return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


@settings(max_examples=80)
@given(
    SIZES,
    st.sampled_from([1, 3]),
    st.booleans(),
    st.sampled_from(LOSSLESS),
    st.integers(0, 2**32 - 1),
)
def test_lossless_formats_keep_every_bit(
    size: tuple[int, int], channels: int, with_alpha: bool, kind: tuple[str, str], seed: int
) -> None:
    suffix, dtype = kind
    pixels = make((*size, channels), dtype, seed)
    alpha = make(size, dtype, seed + 1) if with_alpha else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture" + suffix)
        write_picture(Picture(pixels, alpha), path)
        back = read_picture(path)
        assert [p.name for p in Path(folder).iterdir()] == [path.name]
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    if alpha is None:
        assert back.alpha is None
    else:
        np.testing.assert_array_equal(back.alpha, alpha)
    assert back.depth == 8 * pixels.dtype.itemsize


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_stay_close(tmp_path: Path, photo: np.ndarray, suffix: str, channels: int) -> None:
    path = tmp_path / f"picture{suffix}"
    write_picture(Picture(photo[..., :channels]), path)
    back = read_picture(path)
    if suffix == ".jpg":
        assert back.pixels.shape[2] == channels  # WebP has no grey
    assert np.abs(back.pixels.astype(int) - photo[..., :channels]).mean() < 3


def test_webp_keeps_alpha(tmp_path: Path, photo: np.ndarray) -> None:
    write_picture(Picture(photo, photo[..., 0]), tmp_path / "a.webp")
    alpha = read_picture(tmp_path / "a.webp").alpha
    assert alpha is not None
    np.testing.assert_array_equal(alpha, photo[..., 0])


def test_jpeg_drops_alpha_and_says_so(tmp_path: Path, photo: np.ndarray) -> None:
    with pytest.warns(TapetumWarning, match="JPEG has no transparency"):
        write_picture(Picture(photo, photo[..., 0]), tmp_path / "a.jpg")
    assert read_picture(tmp_path / "a.jpg").alpha is None


def test_depth_is_of_the_file_and_formats_limit_it(tmp_path: Path) -> None:
    sixteen = np.array([0, 128, 129, 257, 65535], np.uint16).reshape(1, 5, 1)
    write_picture(Picture(sixteen, depth=8), tmp_path / "eight.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "eight.png").pixels.ravel(), [0, 0, 1, 1, 255])
    floats = np.array([-0.5, 0.0, 0.5, 1.0, 1.5], np.float32).reshape(1, 5, 1)
    with pytest.warns(TapetumWarning, match="clipped"):
        write_picture(Picture(floats), tmp_path / "float.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "float.png").pixels.ravel(), [0, 0, 32768, 65535, 65535])
    write_picture(Picture(sixteen), tmp_path / "sixteen.jpg")
    assert read_picture(tmp_path / "sixteen.jpg").depth == 8


def test_with_pixels_keeps_all_else(photo: np.ndarray) -> None:
    picture = Picture(photo, photo[..., 0], icc=b"x", format="png", dpi=(1, 2), metadata={"exif-data": b"y"})
    other = picture.with_pixels(photo.astype(np.float32) / 255)
    assert other.pixels.dtype == np.float32
    assert (other.depth, other.icc, other.format, other.dpi) == (8, b"x", "png", (1, 2))
    assert other.metadata == picture.metadata
    assert picture.pixels is photo
    assert (other.height, other.width) == (48, 64)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_impossible_pixels(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="pixels must be"):
        Picture(pixels)


def test_impossible_alpha(photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match="alpha must be"):
        Picture(photo, photo[:5, :, 0])


def test_jpeg_chroma_follows_the_source(tmp_path: Path, photo: np.ndarray) -> None:
    def sampling(path: Path) -> tuple[int, int]:
        with Image.open(path) as image:
            return image.layer[0][1:3]  # type: ignore[attr-defined]

    write_picture(Picture(photo), tmp_path / "full.jpg")
    assert sampling(tmp_path / "full.jpg") == (1, 1)
    Image.fromarray(photo).save(tmp_path / "half.jpg", subsampling="4:2:0")
    write_picture(read_picture(tmp_path / "half.jpg"), tmp_path / "again.jpg")
    assert sampling(tmp_path / "again.jpg") == (2, 2)


def test_quality(tmp_path: Path) -> None:
    picture = Picture(make((64, 64, 3), "uint8"))
    for quality in (40, 95):
        write_picture(picture, tmp_path / f"{quality}.jpg", quality=quality)
    write_picture(picture, tmp_path / "default.jpg")
    sizes = {p.stem: p.stat().st_size for p in tmp_path.iterdir()}
    assert sizes["40"] < sizes["95"] == sizes["default"]
    with pytest.raises(UsageError, match="quality must be 1 to 100, got 0"):
        write_picture(picture, tmp_path / "0.jpg", quality=0)


def test_without_suffix_the_format_of_the_source(tmp_path: Path, photo: np.ndarray) -> None:
    write_picture(Picture(photo, format="png"), tmp_path / "picture")
    assert read_picture(tmp_path / "picture").format == "png"


def test_names() -> None:
    assert all(map(is_picture, ["a.jpg", "B.JPEG", "c.Tiff", "d.webp", "e.png", "f.heic", "g.gif"]))
    assert not any(map(is_picture, ["a.txt", "jpg", "a.nef", ".png"]))
    assert [output_suffix(n) for n in ("a.JPG", "b.tif", "c.heic", "d")] == [".JPG", ".tif", ".png", ".png"]


def test_pixels_may_go_while_libvips_still_reads_them(tmp_path: Path) -> None:
    view = make((2000, 900, 3), "uint8")[
        ::2, ::-3
    ]  # not contiguous: what libvips reads is a copy that nobody else holds
    write_picture(Picture(view, view[..., 1]), tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, view)
