"""PIL images, arrays and tensors: unwrapped and wrapped up again."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

from tapetum.errors import InputError, UsageError
from tapetum.imaging import Picture
from tapetum.imaging.arrays import opened

RANDOM = np.random.default_rng(0)


def pil(mode: str) -> PIL.Image.Image:
    rgba = PIL.Image.fromarray(RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8))
    if mode == "I;16":
        return PIL.Image.fromarray(RANDOM.integers(0, 65536, (5, 7), dtype=np.uint16))
    if mode == "I":
        return PIL.Image.fromarray(RANDOM.integers(0, 65536, (5, 7), dtype=np.int32))
    if mode == "F":
        return PIL.Image.fromarray(RANDOM.random((5, 7), np.float32))
    return rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode) if mode != "LA" else rgba.convert("LA")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "I", "F"])
def test_pil_modes_are_kept(mode: str) -> None:
    image = pil(mode)
    image.info["icc_profile"] = b"profile"
    pixels, rewrap = opened(image)
    back = rewrap(pixels)
    assert back.mode == mode
    assert back.info["icc_profile"] == b"profile"
    assert np.array_equal(np.asarray(back), np.asarray(image))


@pytest.mark.parametrize(("mode", "expected"), [("1", "L"), ("P", "RGB"), ("CMYK", "RGB"), ("YCbCr", "RGB")])
def test_other_pil_modes_become_the_nearest_one(mode: str, expected: str) -> None:
    image = pil(mode)
    pixels, rewrap = opened(image)
    back = rewrap(pixels)
    assert back.mode == expected
    assert np.array_equal(np.asarray(back), np.asarray(image.convert(expected)))


def test_transparent_palette_becomes_rgba() -> None:
    image = pil("P")
    image.info["transparency"] = 0
    pixels, rewrap = opened(image)
    back = rewrap(pixels)
    assert back.mode == "RGBA"
    assert np.array_equal(np.asarray(back), np.asarray(image.convert("RGBA")))


@pytest.mark.parametrize(
    ("mode", "key", "expected"), [("1", 255, "LA"), ("L", 9, "LA"), ("RGB", (9, 9, 9), "RGBA"), ("La", None, "LA")]
)
def test_transparency_of_other_kinds_becomes_alpha(mode: str, key: object, expected: str) -> None:
    image = PIL.Image.new("L", (7, 5), 200)
    image.paste(9 if mode != "1" else 255, (0, 0, 3, 5))
    if mode == "La":
        image.putalpha(PIL.Image.linear_gradient("L").resize(image.size))
    image = image.convert(mode) if mode != "1" else image.point(lambda value: 255 * (value == 255), "1")
    if key is not None:
        image.info["transparency"] = key
    pixels, rewrap = opened(image)
    back = rewrap(pixels)
    assert (back.mode, "transparency" in back.info) == (expected, False)
    assert np.array_equal(np.asarray(back), np.asarray(image.convert(expected)))
    assert len(np.unique(np.asarray(back)[..., -1])) > 1


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_arrays_keep_shape_and_dtype(shape: tuple[int, ...], dtype: type) -> None:
    image = (RANDOM.random(shape) * (1 if np.dtype(dtype).kind == "f" else 200)).astype(dtype)
    pixels, rewrap = opened(image)
    assert pixels[0].shape[2] in (1, 3)
    back = rewrap(pixels)
    assert back.dtype == image.dtype
    assert back.shape == image.shape
    assert np.allclose(back, image, rtol=0, atol=1e-7)


def test_alpha_of_an_array_is_kept_exactly() -> None:
    image = RANDOM.integers(0, 65536, (5, 7, 4), dtype=np.uint16)
    pixels, rewrap = opened(image)
    back = rewrap([np.zeros_like(pixels[0])])
    assert np.array_equal(back[:, :, 3], image[:, :, 3])
    assert not back[:, :, :3].any()


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7), (1, 5, 7)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.float64])
def test_tensors_keep_shape_and_dtype(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    image = (torch.rand(shape) * (1 if dtype.is_floating_point else 200)).to(dtype)
    pixels, rewrap = opened(image)
    assert all(each.shape == (5, 7, shape[-3]) for each in pixels)
    back = rewrap(pixels)
    assert back.dtype == dtype
    assert torch.allclose(back.double(), image.double(), rtol=0, atol=1e-7)


def test_picture_keeps_the_rest() -> None:
    picture = Picture(np.zeros((4, 5, 3), np.uint8), alpha=np.ones((4, 5), np.uint8), icc=b"x", format="png")
    pixels, rewrap = opened(picture)
    back = rewrap([pixels[0] + 1])
    assert back.pixels.min() == 1
    assert (back.icc, back.format, back.alpha is picture.alpha) == (b"x", "png", True)


def test_highlights_above_white_stay_as_far_above() -> None:
    pixels = np.array([[[-0.5, 0.0, 0.25], [0.5, 1.0, 7.0]]], np.float32)
    (inside,), rewrap = opened(Picture(pixels))
    assert inside.ravel().tolist() == [0, 0, 0.25, 0.5, 1, 1]
    assert rewrap([np.sqrt(inside)]).pixels.ravel().tolist() == [-0.5, 0, 0.5, np.float32(0.5**0.5), 1, 7]
    assert np.array_equal(rewrap([inside]).pixels, pixels)
    with pytest.raises(InputError, match=r"most samples are above 1 \(up to 65535\)"):
        opened(Picture(np.full((4, 4, 3), 65535, np.float32)))
    with pytest.raises(InputError, match="NaN"):
        opened(Picture(np.full((4, 4, 3), np.nan, np.float32)))


def test_a_little_outside_is_clipped() -> None:
    (pixels,), _ = opened(np.array([[-0.1, 1.2]]))
    assert pixels.ravel().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (np.zeros((4, 4), bool), UsageError, "got bool"),
        (np.zeros((4, 4), complex), UsageError, "got complex128"),
        (np.zeros((4, 4), np.int64), UsageError, "got int64"),
        (np.zeros((4, 4, 2), np.uint8), UsageError, r"got \(4, 4, 2\)"),
        (np.zeros((4, 0, 3), np.uint8), UsageError, r"got \(4, 0, 3\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), UsageError, r"got \(1, 4, 4, 3\)"),
        (torch.zeros(4, 4, 3), UsageError, r"got \(4, 4, 3\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), UsageError, "got int32"),
        (torch.zeros(3, 4, 4).to_sparse(), UsageError, "got a sparse tensor"),
        (torch.zeros(3, 4, 4, device="meta"), UsageError, "got a meta tensor"),
        (PIL.Image.new("RGB", (0, 4)), UsageError, "got 0 x 4"),
        (PIL.Image.new("I", (4, 0)), UsageError, "got 4 x 0"),
        (np.full((4, 4), np.nan), InputError, "NaN"),
        (np.full((4, 4), np.inf), InputError, "NaN or infinity"),
        (np.full((4, 4), 255.0), InputError, "255 to 255: divide"),
        (PIL.Image.fromarray(np.full((4, 4), 70000, np.int32)), InputError, "16-bit"),
        ("night.jpg", UsageError, "got str"),
        (None, UsageError, "got NoneType"),
    ],
)
def test_what_is_no_image_is_refused(image: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        opened(image)
